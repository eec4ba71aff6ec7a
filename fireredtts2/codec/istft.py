"""Inverse STFT head with "same" padding, exact when streamed (SPEC section 7, step 3).

A window of 960 samples is four hops of 240, so hop t of the output is the sum of one quarter of
each of the frames t-3 ... t. Whole and streamed decodes are the same four additions.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fireredtts2.codec.state import TailState

HOPS_PER_WINDOW = 4
MAX_MAGNITUDE = 100.0


class Istft(nn.Module):
    """Complex spectrum (B, T, bins) to audio; 360 samples trimmed at each end by the caller."""

    window: Tensor

    def __init__(self, hop_samples: int) -> None:
        super().__init__()
        self.hop_samples = hop_samples
        self.fft_size = HOPS_PER_WINDOW * hop_samples
        self.register_buffer("window", torch.hann_window(self.fft_size))

    @property
    def trim_samples(self) -> int:
        return (self.fft_size - self.hop_samples) // 2

    @property
    def num_bins(self) -> int:
        """Of a spectrum."""
        return self.fft_size // 2 + 1

    def initial_state(self, batch: int) -> TailState:
        frames = torch.zeros(batch, self.fft_size, HOPS_PER_WINDOW - 1, device=self.window.device)
        return TailState(frames)

    def forward(self, spectrum: Tensor, state: TailState, steps: Tensor) -> Tensor:
        """Adds T frames; returns the T hops that they complete, (B, T * hop) float32.

        Args:
            spectrum: (B, T, fft_size // 2 + 1) complex.
            state: the last three windowed frames of each row.
            steps: (B,) frames that each row had before these.
        """
        frames = torch.fft.irfft(spectrum, self.fft_size, dim=-1) * self.window
        return self._overlap_add(frames, state, steps, ended=False)

    def flush(self, state: TailState, steps: Tensor) -> Tensor:
        """The three hops still open after the last frame, (B, 3 * hop)."""
        silence = self.window.new_zeros(steps.shape[0], HOPS_PER_WINDOW - 1, self.fft_size)
        return self._overlap_add(silence, state, steps, ended=True)

    def _overlap_add(self, frames: Tensor, state: TailState, steps: Tensor, ended: bool) -> Tensor:
        num_new = frames.shape[1]
        joined = state.extend(frames.transpose(1, 2)).transpose(1, 2)
        index = torch.arange(-(HOPS_PER_WINDOW - 1), num_new, device=frames.device)
        exists = index[None, :] + steps[:, None] >= 0
        if ended:
            exists = exists & (index < 0)
        summed = self._sum_quarters(joined, num_new)
        envelope = self._sum_quarters(exists[..., None] * self.window.square(), num_new)
        return (summed / envelope.clamp(min=1e-11)).flatten(1)

    def _sum_quarters(self, frames: Tensor, num_new: int) -> Tensor:
        quarters = frames.unflatten(-1, (HOPS_PER_WINDOW, self.hop_samples))
        total = quarters[:, HOPS_PER_WINDOW - 1 : HOPS_PER_WINDOW - 1 + num_new, 0]
        for quarter in range(1, HOPS_PER_WINDOW):
            start = HOPS_PER_WINDOW - 1 - quarter
            total = total + quarters[:, start : start + num_new, quarter]
        return total


class IstftHead(nn.Module):
    """Hidden states (B, T, D) to audio through log-magnitude and phase (Vocos, Siuzdak 2023)."""

    def __init__(self, embed_dim: int, hop_samples: int) -> None:
        super().__init__()
        self.istft = Istft(hop_samples)
        self.out = nn.Linear(embed_dim, self.istft.fft_size + 2)

    def spectrum(self, x: Tensor, added: Tensor | None = None) -> Tensor:
        """(B, T, D) to the complex spectrum (B, T, bins), in float32.

        `added`, (B, T, 2 * bins), is put to the layer's outputs: log-magnitudes, then phases.
        """
        outputs = F.linear(x, self.out.weight, self.out.bias)
        outputs = outputs if added is None else outputs + added
        log_magnitude, phase = outputs.float().chunk(2, dim=-1)
        magnitude = log_magnitude.exp().clamp(max=MAX_MAGNITUDE)
        return torch.polar(magnitude, phase)
