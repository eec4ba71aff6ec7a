"""Multi-resolution mel loss (as in DAC, Kumar et al. 2023: L1 of log-mels, several windows).

Logarithms weigh what is hardly heard as much as vowels. So magnitudes are compared as well, as in
the spectral convergence of Yamamoto et al. (2020).
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from fireredtts2.codec.mel import mel_filters
from fireredtts2.config import OUTPUT_RATE_HZ

BIN_FLOOR = 1e-2  # of one bin; below, it is not heard
LOG_FLOOR = 1e-5
MEAN_FLOOR = 1e-3  # of a clip's mean magnitude: below, it is silent


class MelResolution(nn.Module):
    """Log-mel of one window length, (B, samples) to (B, mels, frames)."""

    filters: Tensor
    window: Tensor

    def __init__(
        self,
        window_samples: int,
        num_mels: int,
        hop_samples: int | None = None,
        rate_hz: int = OUTPUT_RATE_HZ,
    ) -> None:
        super().__init__()
        self.hop = hop_samples or window_samples // 4
        filters = mel_filters(num_mels, window_samples, rate_hz)
        self.register_buffer("filters", filters.T.contiguous())
        self.register_buffer("window", torch.hann_window(window_samples))
        self.size = window_samples

    def magnitudes(self, audio: Tensor) -> Tensor:
        """(B, samples) to (B, bins, frames)."""
        spectrum = torch.stft(audio, self.size, self.hop, window=self.window, return_complex=True)
        return (torch.view_as_real(spectrum).square().sum(-1) + 1e-10).sqrt()

    def forward(self, audio: Tensor) -> Tensor:
        return log_mel(self.filters @ self.magnitudes(audio))


class SpectralDistances(NamedTuple):
    """Scalars: of log-mels, of single bins' logarithms, and of mel bands relative to their mean."""

    mel: Tensor
    linear: Tensor
    loud: Tensor


class MultiResolutionMelLoss(nn.Module):
    """Mean over resolutions of the L1 distance of log-mels; of two takes, the energy distance.

    Args:
        windows: window lengths in samples with their numbers of mel bands.
        linear_windows: windows whose bins are compared singly as well (Yamamoto et al. 2020). High
            mel bands are wide: a decoder may put a comb of lines at multiples of its frame rate
            there, which is heard as a buzz, and mels do not see it.
        rate_hz: of the sound.
    """

    def __init__(
        self,
        windows: tuple[tuple[int, int], ...] = ((256, 32), (512, 64), (1024, 100), (2048, 160)),
        linear_windows: tuple[int, ...] = (),
        rate_hz: int = OUTPUT_RATE_HZ,
    ) -> None:
        super().__init__()
        self.resolutions = nn.ModuleList(
            MelResolution(size, mels, rate_hz=rate_hz) for size, mels in windows
        )
        self.linear_windows = linear_windows

    def forward(self, made: Tensor, target: Tensor, loud: bool = False) -> SpectralDistances:
        """How far sounds are from real ones.

        Args:
            made: (takes * B, samples), one take of every clip after the other; 1 or 2 takes.
            target: (B, samples).
            loud: whether magnitudes are compared; 0 stands for them otherwise.
        """
        mel, linear, magnitude = (made.new_zeros(()) for _ in SpectralDistances._fields)
        for resolution in cast("Iterable[MelResolution]", self.resolutions):
            with torch.no_grad():
                wanted = resolution.magnitudes(target)
                wanted_bands = resolution.filters @ wanted
            magnitudes = resolution.magnitudes(made)
            bands = resolution.filters @ magnitudes
            mel = mel + energy_distance(log_mel(bands), log_mel(wanted_bands))
            if loud:
                magnitude = magnitude + relative_distance(bands, wanted_bands)
            if resolution.size in self.linear_windows:
                linear = linear + energy_distance(log_bins(magnitudes), log_bins(wanted))
        count = len(self.resolutions)
        return SpectralDistances(
            mel / count, linear / max(1, len(self.linear_windows)), magnitude / count
        )


def energy_distance(made: Tensor, real: Tensor) -> Tensor:
    """How far what is drawn is distributed from what is real (Gritsenko et al. 2020), a scalar.

    Of two takes y, y' of one clip x: (d(x, y) + d(x, y')) / 2 - d(y, y') / 2, where d is the mean
    L1 distance. It is least, in the mean, where takes differ from each other as they differ from
    what is real; d(x, y) alone, which is left of one take, is least for a median, which is too
    smooth.

    Args:
        made: (takes * B, ...), one take of every clip after the other; 1 or 2 takes.
        real: (B, ...).
    """
    takes = made.split(len(real))
    distance = torch.stack([(take - real).abs().mean() for take in takes]).mean()
    if len(takes) == 1:
        return distance
    one, other = takes
    return distance - (one - other).abs().mean() / 2


def relative_distance(made: Tensor, real: Tensor) -> Tensor:
    """Energy distance of bands (takes * B, mels, T) to (B, mels, T), in shares of a clip's mean."""
    level = real.mean((1, 2), keepdim=True) + MEAN_FLOOR
    return energy_distance(made / level.repeat(len(made) // len(real), 1, 1), real / level)


def log_mel(bands: Tensor) -> Tensor:
    return bands.clamp(min=LOG_FLOOR).log()


def log_bins(magnitudes: Tensor) -> Tensor:
    return magnitudes.clamp(min=BIN_FLOOR).log()
