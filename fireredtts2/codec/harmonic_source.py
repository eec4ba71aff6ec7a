"""Harmonic source of a small decoder: a pulse train whose pitch the decoder itself names.

The published decoder has none; it draws every phase by itself, which a large decoder learns and a
small one does not: above the first harmonics its voices are noise. Here a pulse train takes the
place of these phases, in each band as far as the sound is periodic there (mixed excitation of one
envelope: McCree and Barnwell 1995; a source that follows a named pitch: Wang et al. 2019).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fireredtts2.codec.state import SourceState, TailState
from fireredtts2.config import OUTPUT_RATE_HZ

MIN_PITCH_HZ = 60.0
MAX_PITCH_HZ = 500.0
MAX_HARMONIC_HZ = 11_500.0
BAND_EDGES_HZ = (0.0, 500.0, 1_000.0, 2_000.0, 3_000.0, 4_000.0, 6_000.0, 8_000.0, 12_000.0)
NUM_BANDS = len(BAND_EDGES_HZ) - 1
PEAK_GAIN = 2.0  # harmonics stand above the level of a noise of the same power
HIDDEN_DIM = 128
KERNEL = 9  # a pitch that hears 90 ms does not tremble
TURN = 2**23  # steps of a phase that has gone round once: as many as float32 tells apart


@dataclass(frozen=True)
class Excitation:
    """What sounds before the envelope shapes it, at 100 Hz.

    Attributes:
        pitch_hz: (B, T), 0 where unvoiced.
        periodicity: (B, T, NUM_BANDS), the harmonics' share of the power, 0 to 1.
    """

    pitch_hz: Tensor
    periodicity: Tensor

    def repeated(self, times: int) -> Excitation:
        """All rows, and once more, so many times in all."""
        periodicity = self.periodicity.repeat(times, 1, 1)
        return Excitation(self.pitch_hz.repeat(times, 1), periodicity)


class HarmonicSource(nn.Module):
    """Gives a spectrum (B, T, bins) harmonics where the hidden states (B, T, D) say so.

    Args:
        embed_dim: D.
        hop_samples: of the inverse STFT; its windows are `window`.
        window: (fft_size,) that the inverse STFT weighs with.
    """

    window: Tensor

    def __init__(self, embed_dim: int, hop_samples: int, window: Tensor) -> None:
        super().__init__()
        self.hop_samples, self.fft_size = hop_samples, window.numel()
        self.register_buffer("window", window.clone())
        self.hear = nn.Conv1d(embed_dim, HIDDEN_DIM, KERNEL)
        self.name = nn.Linear(HIDDEN_DIM, 2 + NUM_BANDS)
        self.shift = nn.Linear(embed_dim, self.fft_size // 2 + 1)
        nn.init.zeros_(self.shift.weight)
        nn.init.zeros_(self.shift.bias)

    def initial_state(self, batch: int) -> SourceState:
        """Zeros for `batch` rows."""
        weight = self.hear.weight
        tail = TailState(weight.new_zeros(batch, weight.shape[1], KERNEL - 1))
        return SourceState(tail, torch.zeros(batch, dtype=torch.long, device=weight.device))

    def named(self, x: Tensor, state: SourceState | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """What hidden states (B, T, D) say of the excitation.

        Returns:
            Octaves above `MIN_PITCH_HZ` (B, T), logits of voicing (B, T), and logits of the
            bands' periodicity (B, T, NUM_BANDS).
        """
        state = state or self.initial_state(x.shape[0])
        heard = F.silu(self.hear(state.tail.extend(x.transpose(1, 2)))).transpose(1, 2)
        octaves, voicing, bands = self.name(heard).float().split([1, 1, NUM_BANDS], -1)
        return octaves[..., 0], voicing[..., 0], bands

    def forward(
        self,
        x: Tensor,
        spectrum: Tensor,
        state: SourceState | None = None,
        excitation: Excitation | None = None,
    ) -> Tensor:
        """The spectrum with its voiced part in harmonics, complex (B, T, bins).

        Args:
            x: (B, T, D).
            spectrum: complex (B, T, bins), of the head; its magnitudes stay the envelope.
            state: of each row, advanced in place; fresh by default.
            excitation: as it was measured; what `named` says by default.
        """
        state = state or self.initial_state(x.shape[0])
        with torch.no_grad():
            if excitation is None:
                octaves, voicing, bands = self.named(x, state)
                named_hz = torch.where(voicing > 0, MIN_PITCH_HZ * octaves.exp2(), 0.0)
                excitation = Excitation(named_hz, bands.sigmoid())
            pitch_hz = excitation.pitch_hz.clamp(MIN_PITCH_HZ, MAX_PITCH_HZ)
            phases = state.advance((pitch_hz * (self.hop_samples / OUTPUT_RATE_HZ * TURN)).round())
            pulses = PEAK_GAIN * self._pulses(pitch_hz, phases)
            share = excitation.periodicity * (excitation.pitch_hz > 0)[..., None]
            share = share @ band_weights(self.fft_size, x.device)
        shift = F.linear(x, self.shift.weight, self.shift.bias).float()
        voiced = torch.polar(share.sqrt() * spectrum.abs(), shift) * pulses
        return (1 - share).sqrt() * spectrum + voiced

    def _pulses(self, pitch_hz: Tensor, phases: Tensor) -> Tensor:
        """Spectra (B, T, bins) of the pulse train's windows, 1 at the harmonics' peaks.

        In each window the pitch is steady: neighbours overlap, so the train glides.

        Args:
            pitch_hz: (B, T).
            phases: (B, T) int64 at the windows' middles, in steps of 1 / `TURN`.
        """
        places = torch.arange(self.fft_size, device=phases.device) - self.fft_size // 2
        turns = (phases % TURN).float()[..., None] / TURN
        turns = turns + pitch_hz[..., None] * (places / OUTPUT_RATE_HZ)
        train = pulse_train(turns, (MAX_HARMONIC_HZ / pitch_hz)[..., None].floor())
        return torch.fft.rfft(train * self.window) / (self.fft_size / 4)


def pulse_train(turns: Tensor, num_harmonics: Tensor) -> Tensor:
    """Sum over k = 1 ... K of cos(2 pi k turns), in closed form (the Dirichlet kernel)."""
    turns = turns - turns.round()
    half = math.pi * turns
    below = half.sin()
    is_peak = below.abs() < 1e-6
    ratio = ((2 * num_harmonics + 1) * half).sin() / torch.where(is_peak, 1.0, below)
    return torch.where(is_peak, num_harmonics, (ratio - 1) / 2)


@lru_cache(maxsize=8)
def band_weights(fft_size: int, device: torch.device) -> Tensor:
    """(NUM_BANDS, bins): straight lines between the bands' middles, level beyond."""
    edges = torch.tensor(BAND_EDGES_HZ)
    middles = (edges[1:] + edges[:-1]) / 2
    bins_hz = torch.arange(fft_size // 2 + 1) * (OUTPUT_RATE_HZ / fft_size)
    upper = torch.searchsorted(middles, bins_hz).clamp(1, NUM_BANDS - 1)
    low, high = middles[upper - 1], middles[upper]
    share = ((bins_hz - low) / (high - low)).clamp(0, 1)
    one_hot = torch.eye(NUM_BANDS)
    weights = one_hot[upper - 1] * (1 - share)[:, None] + one_hot[upper] * share[:, None]
    return weights.T.contiguous().to(device)
