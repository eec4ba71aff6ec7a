"""Guidance, learnt: a model that speaks at once as two would together.

Classifier-free guidance (Ho and Salimans 2022) of a dual transformer: beside the model that reads
the conversation there is one that knows neither text nor voice, and what the first finds likelier
than the second is made likelier still. Distilled (Meng et al. 2023) into one model, it costs
nothing at inference. For speech by codes: Hussain et al. 2025 (Koel-TTS).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor

from fireredtts2.llm.dual_transformer import DualTransformer
from fireredtts2.llm.prompt import Rows, Segment, pad_rows, segment_rows
from fireredtts2.training.llm_data import Composer, Mixture, TextMarks, Turns


@dataclass(frozen=True)
class GuidedBatch:
    """Conversations, and their segments bare, in the same order.

    Attributes:
        tokens: (B, T, Q+1) of the conversations.
        mask: the same shape.
        bare_tokens: (N, t, Q+1), each segment alone with the tag for its only text.
        bare_mask: the same shape.
    """

    tokens: Tensor
    mask: Tensor
    bare_tokens: Tensor
    bare_mask: Tensor

    @classmethod
    def of(cls, conversations: Sequence[Turns], marks: TextMarks) -> GuidedBatch:
        """Puts conversations together; all of their frames are learnt from."""
        whole, bare = [], []
        for turns in conversations:
            parts = []
            for tag, clip in turns:
                num_codebooks = len(clip.codes)
                told = Segment(marks.around(tag, clip.text_ids), clip.codes)
                alone = Segment(marks.around(tag, ()), clip.codes)
                parts.append(segment_rows(told, num_codebooks))
                bare.append(segment_rows(alone, num_codebooks))
            whole.append(Rows.concatenate(parts))
        tokens, mask, _ = pad_rows(whole)
        bare_tokens, bare_mask, _ = pad_rows(bare)
        return cls(tokens, mask, bare_tokens, bare_mask)


def guided_batches(
    composer: Composer, num_rows: int, max_rows: int, mixture: Mixture, seed: int
) -> Iterator[GuidedBatch]:
    """Endless batches; arguments as for `Composer.groups`."""
    for group in composer.groups(num_rows, max_rows, mixture, seed):
        yield GuidedBatch.of(group, composer.marks)


@dataclass(frozen=True)
class FrameLogits:
    """Of all frames of a batch with their end rows, N in all, in order.

    Attributes:
        first: (N, V) of the first code.
        depth: (N, Q-1, V) of the others, given the true codes before each.
        is_end: (N,) bool, rows that end a segment: nobody looks at their other codes.
    """

    first: Tensor
    depth: Tensor
    is_end: Tensor


def frame_logits(
    model: DualTransformer, tokens: Tensor, mask: Tensor, inputs: Tensor | None = None
) -> FrameLogits:
    """Logits of every frame of rows (B, T, Q+1).

    Args:
        model: whose.
        tokens: what is said.
        mask: live columns.
        inputs: what is read in place of `tokens`, as in `dual_transformer_loss`.
    """
    is_frame = mask[:, 1:, 0]
    hidden = model(tokens if inputs is None else inputs, mask)[:, :-1][is_frame]
    frames = tokens[:, 1:, :-1][is_frame]
    return FrameLogits(
        model.codebook0_head(hidden), model.depth_logits(hidden, frames), ~frames.any(-1)
    )


def guided_log_probs(told: Tensor, bare: Tensor, scale: float) -> Tensor:
    """log p of (1 + scale) log p(told) - scale log p(bare), normalised, float32.

    Args:
        told: logits (..., V) of the model that reads text and voice.
        bare: logits of the one that does not.
        scale: 0 for the first alone.
    """
    told, bare = told.float().log_softmax(-1), bare.float().log_softmax(-1)
    return ((1 + scale) * told - scale * bare).log_softmax(-1)


def guidance_loss(
    student: FrameLogits, told: FrameLogits, bare: FrameLogits, scale: float
) -> tuple[Tensor, Tensor]:
    """KL divergence in nats of the student from the guided pair: of a first, of a depth code."""
    first = _divergence(student.first, guided_log_probs(told.first, bare.first, scale))
    depth = _divergence(student.depth, guided_log_probs(told.depth, bare.depth, scale))
    return first.mean(), depth[~student.is_end].mean()


def _divergence(logits: Tensor, wanted: Tensor) -> Tensor:
    """Of softmax(logits) from exp(wanted), over the last dimension."""
    log_probs = logits.float().log_softmax(-1)
    return F.kl_div(log_probs, wanted, reduction="none", log_target=True).sum(-1)
