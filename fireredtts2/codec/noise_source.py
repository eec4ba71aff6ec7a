"""Noise source of a small decoder: what the codes leave open is drawn, not averaged.

One frame of codes allows many sounds. A decoder without noise can only say one of them, and
learns their mean, which is dull. Here each step gets numbers drawn once and for all, which the
layers shape as they like; what they shall be like is learnt by an energy distance (Gritsenko et
al. 2020). The noise is a table, so the same codes give the same sound, streamed or whole, alone or
in a batch.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

NOISE_DIM = 32
PERIOD_STEPS = 1024  # then the noise repeats, which over ten seconds nobody hears
FIRST_WEIGHTS = 0.02  # deviation of both projections' weights where training begins


@dataclass(frozen=True)
class Noise:
    """Which part of the table rows hear, and how much of it.

    Attributes:
        start: (B,) int64, the step where each row's noise begins.
        temperature: what it is multiplied by. 1 is what training hears; less is nearer to the mean.
    """

    start: Tensor
    temperature: float


class NoiseSource(nn.Module):
    """Adds noise to hidden states (B, T, embed_dim) at 100 Hz."""

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

    def before_backbone(self, x: Tensor, noise: Noise) -> Tensor:
        """What the backbone reads."""
        return x + self.into_backbone(self._drawn(x.shape[1], noise))

    def before_head(self, x: Tensor, noise: Noise) -> Tensor:
        """What the head of the inverse STFT reads."""
        return x + self.into_head(self._drawn(x.shape[1], noise))

    def _drawn(self, num_steps: int, noise: Noise) -> Tensor:
        """(B, num_steps, NOISE_DIM)."""
        steps = noise.start[:, None] + torch.arange(num_steps, device=noise.start.device)
        return noise.temperature * self.table[steps % PERIOD_STEPS]
