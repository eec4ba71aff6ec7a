"""Noise on the codes that a model reads, so that its speech goes on after a bad draw."""

from __future__ import annotations

import torch
from torch import Tensor


def rows_with_codes(tokens: Tensor, mask: Tensor) -> Tensor:
    """(B, T) bool: which rows (B, T, Q+1) hold codes, without the ends of turns."""
    return mask[..., 0] & tokens[..., :-1].any(-1)


def with_code_noise(
    tokens: Tensor, mask: Tensor, share: float, generator: torch.Generator
) -> Tensor:
    """Rows (B, T, Q+1) in which single codes are those of a frame drawn from the batch.

    Args:
        tokens: the rows.
        mask: live columns, the same shape. The ends of turns stay, and none is drawn.
        share: of the codes.
        generator: on the CPU.
    """
    is_frame = rows_with_codes(tokens, mask)
    frames = tokens[..., :-1][is_frame]
    drawn = frames[torch.randperm(len(frames), generator=generator)]
    is_noisy = torch.rand(frames.shape, generator=generator) < share
    noisy = tokens.clone()
    noisy[..., :-1][is_frame] = torch.where(is_noisy, drawn, frames)
    return noisy
