"""Streaming state of the decoder: explicit tensors of fixed shape, one row a listener.

A fresh state is all zeros. Rows start and stop independently: `reset(row)` makes one new again.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass
class TailState:
    """The last inputs that a causal convolution still needs, (B, channels, steps)."""

    tail: Tensor

    def extend(self, x: Tensor) -> Tensor:
        """Puts the tail before x (B, channels, T) and keeps the new tail."""
        joined = torch.cat([self.tail, x], dim=2)
        # NOTE: in place, so that the state's storage stays where it is.
        self.tail.copy_(joined[:, :, joined.shape[2] - self.tail.shape[2] :])
        return joined

    def reset(self, row: int) -> None:
        self.tail[row].zero_()


@dataclass
class AttentionState:
    """Keys and values of one attention layer, (B, heads, capacity, head_dim)."""

    keys: Tensor
    values: Tensor

    def extend(
        self, keys: Tensor, values: Tensor, positions: Tensor, live: int
    ) -> tuple[Tensor, Tensor]:
        """Writes (B, heads, T, head_dim) at positions (B, T); returns the first `live` steps."""
        rows = torch.arange(keys.shape[0], device=keys.device)[:, None]
        self.keys[rows, :, positions] = keys.transpose(1, 2)
        self.values[rows, :, positions] = values.transpose(1, 2)
        return self.keys[:, :, :live], self.values[:, :, :live]


@dataclass
class DecoderState:
    """Everything a streamed decode keeps between chunks.

    Attributes:
        steps: (B,) int64, decoder steps (100 Hz) that each row has taken.
        live: no row has taken more steps than this; bounds the attended length on the host.
    """

    steps: Tensor
    upsample: list[TailState]
    convolutions: list[TailState]
    attention: list[AttentionState]
    overlap: TailState
    live: int = 0

    @property
    def capacity(self) -> int:
        """Steps that a row can hold."""
        return self.attention[0].keys.shape[2] if self.attention else 2**62

    def reset(self, row: int) -> None:
        """Makes one row fresh; the others go on undisturbed."""
        # Keys and values need no clearing: a step sees only positions its row has written.
        self.steps[row] = 0
        for tail in [*self.upsample, *self.convolutions, self.overlap]:
            tail.reset(row)
        self.live = int(self.steps.max())
