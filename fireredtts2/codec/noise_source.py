"""Noise source of a small decoder: what the codes leave open is drawn, not averaged.

One frame of codes allows many sounds. A decoder without noise can only say one of them, and
learns their middle, which is too smooth. Here each step gets numbers drawn once and for all, which
the layers shape as they like; what they shall be like is learnt by an energy distance (Gritsenko
et al. 2020). The noise is a table, so the same codes give the same sound, streamed or whole, alone
or in a batch.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

NOISE_DIM = 32
PERIOD_STEPS = 1024  # 10.24 s, then the noise repeats
FIRST_WEIGHTS = 0.02  # deviation of both projections' weights where training begins


class NoiseSource(nn.Module):
    """Noise for the decoder's steps (100 Hz), and how its backbone and its head hear it."""

    table: Tensor

    def __init__(self, embed_dim: int) -> None:
        super().__init__()
        # NOTE: with the weights, which have learnt it: no version of torch draws another one.
        generator = torch.Generator().manual_seed(0)
        self.register_buffer("table", torch.randn(PERIOD_STEPS, NOISE_DIM, generator=generator))
        self.into_backbone = nn.Linear(NOISE_DIM, embed_dim, bias=False)
        self.into_head = nn.Linear(NOISE_DIM, embed_dim, bias=False)
        for layer in (self.into_backbone, self.into_head):
            nn.init.normal_(layer.weight, std=FIRST_WEIGHTS)

    def drawn(self, start: Tensor, num_steps: int, temperature: float) -> Tensor:
        """Noise (B, num_steps, NOISE_DIM).

        Args:
            start: (B,) int64, the step where each row's noise begins.
            num_steps: how many steps it lasts.
            temperature: what it is multiplied by; 1 is what training hears.
        """
        steps = start[:, None] + torch.arange(num_steps, device=start.device)
        return temperature * self.table[steps % PERIOD_STEPS]
