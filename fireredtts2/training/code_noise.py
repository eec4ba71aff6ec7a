"""Noise on the codes that a model reads, so that its speech goes on after a bad draw."""

from __future__ import annotations

import torch
from torch import Tensor


def with_code_noise(
    tokens: Tensor, is_frame: Tensor, share: float, generator: torch.Generator
) -> Tensor:
    """Rows (B, T, Q+1) in which single codes are those of a frame drawn from the batch.

    Args:
        tokens: the rows.
        is_frame: (B, T) bool, which of them hold codes, without the ends of turns: these stay, and
            none is drawn.
        share: of the codes.
        generator: on the CPU.
    """
    frames = tokens[..., :-1][is_frame]
    drawn = frames[torch.randperm(len(frames), generator=generator)]
    is_noisy = torch.rand(frames.shape, generator=generator) < share
    noisy = tokens.clone()
    noisy[..., :-1][is_frame] = torch.where(is_noisy, drawn, frames)
    return noisy
