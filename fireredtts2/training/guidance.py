"""Guidance, learnt: a model that speaks at once as two would together.

Classifier-free guidance (Ho and Salimans 2022) of a dual transformer: beside the model that reads
the conversation there is one that knows neither text nor voice, and what the first finds likelier
than the second is made likelier still. Distilled (Meng et al. 2023) into one model, it costs
nothing at inference. For speech by codes: Hussain et al. 2025 (Koel-TTS).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fireredtts2.llm.dual_transformer import DualTransformer
from fireredtts2.llm.prompt import Rows, audio_rows, pad_rows, text_rows
from fireredtts2.training.code_noise import with_code_noise
from fireredtts2.training.llm_data import (
    POOL_SAMPLES,
    Composer,
    Mixture,
    TextMarks,
    Turns,
    by_length,
    num_rows_of,
)
from fireredtts2.training.losses import dual_transformer_loss
from fireredtts2.training.muon import Muon
from fireredtts2.training.schedule import trapezoid
from fireredtts2.training.train_llm import split_parameters

WARMUP_STEPS = 20


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
                num_codebooks, frames = len(clip.codes), audio_rows(clip.codes)
                parts += [text_rows(marks.around(tag, clip.text_ids), num_codebooks), frames]
                alone = text_rows(marks.around(tag, ()), num_codebooks)
                bare.append(Rows.concatenate([alone, frames]))
            whole.append(Rows.concatenate(parts))
        tokens, mask, _ = pad_rows(whole)
        bare_tokens, bare_mask, _ = pad_rows(bare)
        return cls(tokens, mask, bare_tokens, bare_mask)


def guided_batches(
    composer: Composer, num_rows: int, max_rows: int, mixture: Mixture, seed: int
) -> Iterator[GuidedBatch]:
    """Endless batches; arguments as for `Composer.batches`."""
    rng = np.random.default_rng(seed)
    while True:
        drawn = [composer.turns_within(max_rows, mixture, rng) for _ in range(POOL_SAMPLES)]
        groups = by_length(drawn, num_rows, num_rows_of)
        for index in rng.permutation(len(groups)):
            yield GuidedBatch.of(groups[index], composer.marks)


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


@dataclass(frozen=True)
class GuidanceConfig:
    """Two runs: of the model that knows no text (`bare`), then of the student.

    Attributes:
        rows_per_step: of a batch, padding included.
        total_steps: of each run.
        muon_rate: for the matrices inside the transformers.
        adam_rate: for everything else.
        cooldown_share: of a run, in which the rates fall to zero.
        scale: of the guidance.
        code_noise: share of the codes read by what is trained that are those of another frame.
        depth_weight: of the depth codes' divergence; the first code's has the rest.
    """

    rows_per_step: int = 2048
    total_steps: int = 300
    muon_rate: float = 0.004
    adam_rate: float = 8e-4
    cooldown_share: float = 0.7
    scale: float = 1.5
    code_noise: float = 0.04
    depth_weight: float = 0.75
    max_seconds: float = float("inf")
    save_every: int = 50
    seed: int = 0


class _Trainer:
    """What both runs share: a model, its optimizers, and where it stands."""

    def __init__(self, model: DualTransformer, config: GuidanceConfig) -> None:
        self.model, self.config = model, config
        matrices, others = split_parameters(model)
        self.optimizers: list[torch.optim.Optimizer] = [
            Muon(matrices, lr=config.muon_rate),
            torch.optim.AdamW(others, lr=config.adam_rate, betas=(0.9, 0.95), weight_decay=0.0),
        ]
        self.peaks = [config.muon_rate, config.adam_rate]
        self.step_count = 0
        self.generator = torch.Generator().manual_seed(config.seed)

    def losses(self, batch: GuidedBatch) -> dict[str, Tensor]:
        """ "total" is what is minimised."""
        raise NotImplementedError

    def step(self, batch: GuidedBatch) -> dict[str, float]:
        config = self.config
        factor = trapezoid(self.step_count, WARMUP_STEPS, config.total_steps, config.cooldown_share)
        for optimizer, peak in zip(self.optimizers, self.peaks, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = peak * factor
        with torch.autocast("cpu", dtype=torch.bfloat16):
            losses = self.losses(batch)
        losses["total"].backward()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        for optimizer in self.optimizers:
            if norm.isfinite():
                optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        self.step_count += 1
        return {name: value.item() for name, value in losses.items()}

    def state(self) -> dict:
        """For `torch.save`; `average` is the model, as the other trainers name what ships."""
        return {
            "average": self.model.state_dict(),
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "step": self.step_count,
            "random": self.generator.get_state(),
        }

    def load(self, state: dict) -> None:
        self.model.load_state_dict(state["average"])
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            optimizer.load_state_dict(saved)
        self.step_count = state["step"]
        self.generator.set_state(state["random"])

    def noisy(self, tokens: Tensor, mask: Tensor) -> Tensor:
        is_frame = mask[..., 0] & tokens[..., :-1].any(-1)
        return with_code_noise(tokens, is_frame, self.config.code_noise, self.generator)


class BareTrainer(_Trainer):
    """Teaches a model to go on with speech of which it knows neither text nor voice."""

    def losses(self, batch: GuidedBatch) -> dict[str, Tensor]:
        tokens, mask = batch.bare_tokens, batch.bare_mask
        losses = dual_transformer_loss(
            self.model, tokens, mask, depth_fraction=1.0, inputs=self.noisy(tokens, mask)
        )
        return {"total": losses.total, "first_code": losses.first_code, "depth": losses.depth}


class GuidanceTrainer(_Trainer):
    """Teaches a student what two models say together.

    Args:
        model: the student.
        told: reads text and voice; the student as it began.
        bare: reads neither.
        config: how.
    """

    def __init__(
        self,
        model: DualTransformer,
        told: DualTransformer,
        bare: DualTransformer,
        config: GuidanceConfig,
    ) -> None:
        super().__init__(model, config)
        self.told = told.eval().requires_grad_(False)
        self.bare = bare.eval().requires_grad_(False)

    def losses(self, batch: GuidedBatch) -> dict[str, Tensor]:
        config = self.config
        with torch.no_grad():
            told = frame_logits(self.told, batch.tokens, batch.mask)
            bare = frame_logits(self.bare, batch.bare_tokens, batch.bare_mask)
        # NOTE: only the student reads noise: it is told what would follow without.
        noisy = self.noisy(batch.tokens, batch.mask)
        student = frame_logits(self.model, batch.tokens, batch.mask, noisy)
        first, depth = guidance_loss(student, told, bare, config.scale)
        weight = config.depth_weight
        total = (1 - weight) * first + weight * depth
        return {"total": total, "first_code": first, "depth": depth}
