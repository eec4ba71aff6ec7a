"""The dual transformer's training loss (SPEC section 5)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from fireredtts2.llm.dual_transformer import DualTransformer
from fireredtts2.llm.prompt import packed_attention, packed_positions

DEPTH_FRACTION = 1 / 8
TEXT_LOSS_WEIGHT = 0.01
AUDIO_LOSS_WEIGHT = 2.0
IGNORED_TEXT_ID = 0  # the published model counts no text target of id 0


@dataclass(frozen=True)
class DualTransformerLosses:
    """Scalars in nats; `total` is what is minimised."""

    total: Tensor
    text: Tensor
    first_code: Tensor
    depth: Tensor


def dual_transformer_loss(
    model: DualTransformer,
    tokens: Tensor,
    mask: Tensor,
    *,
    segment_ids: Tensor | None = None,
    positions: Tensor | None = None,
    audio_loss_mask: Tensor | None = None,
    depth_fraction: float = DEPTH_FRACTION,
    depth_indices: Tensor | None = None,
    generator: torch.Generator | None = None,
    inputs: Tensor | None = None,
) -> DualTransformerLosses:
    """Loss of a batch: every row predicts the next row of its own sample.

    Args:
        model: The model, in training.
        tokens: Rows (B, T, Q+1) int64.
        mask: Live columns (B, T, Q+1) bool; padding is dead in all of them and comes last.
        segment_ids: Packed batches: which sample each row belongs to, (B, T) int64, padding
            `prompt.PADDING_SEGMENT`. Samples neither see nor predict one another.
        positions: (B, T) int64; they begin anew in every sample where not given.
        audio_loss_mask: (B, T) bool, false at frames that are not to be learnt (voice prompts).
        depth_fraction: Share of the frames that the depth decoder learns from, at least one.
        depth_indices: Those frames by number among the learnt ones, row by row of the batch,
            instead of a random draw.
        generator: A CPU generator for that draw, torch's own where not given; one `randperm`.
        inputs: What the backbone reads in place of `tokens`, which are what it is to say: with
            noise on the codes it learns to go on after codes that it would not have chosen.

    Returns:
        The losses. A batch without frames or without text has a loss of 0 there.

    Raises:
        ValueError: `depth_fraction` is not above 0 and at most 1.
    """
    if not 0 < depth_fraction <= 1:
        raise ValueError(f"depth_fraction {depth_fraction}: must be above 0 and at most 1")
    attention_mask = None
    if segment_ids is not None:
        attention_mask = packed_attention(segment_ids)
        positions = packed_positions(segment_ids) if positions is None else positions
    read = tokens if inputs is None else inputs
    hidden = model(read, mask, attention_mask, positions)[:, :-1]

    follows = _follows_in_sample(mask, segment_ids)
    is_frame = follows & mask[:, 1:, 0]
    if audio_loss_mask is not None:
        is_frame = is_frame & audio_loss_mask[:, 1:]
    frames, frame_states = tokens[:, 1:, :-1][is_frame], hidden[is_frame]
    first_code = _mean_cross_entropy(model.codebook0_head(frame_states), frames[:, 0])

    if depth_indices is None:
        depth_indices = draw_depth_indices(len(frames), depth_fraction, generator)
    chosen = depth_indices.to(frames.device)
    depth_logits = model.depth_logits(frame_states[chosen], frames[chosen])
    depth = _mean_cross_entropy(depth_logits.flatten(0, 1), frames[chosen, 1:].flatten())

    text_targets = tokens[:, 1:, -1]
    is_text = follows & mask[:, :-1, -1] & mask[:, 1:, -1] & (text_targets != IGNORED_TEXT_ID)
    text = _mean_cross_entropy(model.text_head(hidden[is_text]), text_targets[is_text])

    weight = model.config.decoder_loss_weight
    audio = (1 - weight) * first_code + weight * depth
    total = AUDIO_LOSS_WEIGHT * audio + TEXT_LOSS_WEIGHT * text
    return DualTransformerLosses(total, text, first_code, depth)


def draw_depth_indices(
    num_frames: int, fraction: float, generator: torch.Generator | None = None
) -> Tensor:
    """A random share of the frames' numbers, rounded down, but at least one if there is any."""
    count = max(1, int(num_frames * fraction))
    return torch.randperm(num_frames, generator=generator)[:count]


def _follows_in_sample(mask: Tensor, segment_ids: Tensor | None) -> Tensor:
    """(B, T-1): whether row t+1 is live and of the same sample as row t."""
    live = mask.any(-1)
    follows = live[:, 1:] & live[:, :-1]
    if segment_ids is None:
        return follows
    return follows & (segment_ids[:, 1:] == segment_ids[:, :-1])


def _mean_cross_entropy(logits: Tensor, targets: Tensor) -> Tensor:
    """In float32; 0, not NaN, without any target (and the graph stays whole)."""
    summed = F.cross_entropy(logits.float(), targets, reduction="sum")
    return summed / max(1, targets.numel())
