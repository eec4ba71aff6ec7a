"""Multi-resolution mel loss (as in DAC, Kumar et al. 2023: L1 of log-mels, several windows)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn

from fireredtts2.codec.mel import mel_filters
from fireredtts2.config import OUTPUT_RATE_HZ

BIN_FLOOR = 1e-2  # of one bin; below, it is not heard
LOG_FLOOR = 1e-5


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
        return self.log_mel(self.magnitudes(audio))

    def log_mel(self, magnitudes: Tensor) -> Tensor:
        return (self.filters @ magnitudes).clamp(min=LOG_FLOOR).log()


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

    def forward(self, made: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """Two scalars: by mel bands, and by single bins.

        Args:
            made: (takes * B, samples), one take of every clip after the other; 1 or 2 takes.
            target: (B, samples).
        """
        mel, linear = made.new_zeros(()), made.new_zeros(())
        for resolution in cast("Iterable[MelResolution]", self.resolutions):
            with torch.no_grad():
                wanted = resolution.magnitudes(target)
                wanted_mel = resolution.log_mel(wanted)
            magnitudes = resolution.magnitudes(made)
            mel = mel + energy_distance(resolution.log_mel(magnitudes), wanted_mel)
            if resolution.size in self.linear_windows:
                linear = linear + energy_distance(log_bins(magnitudes), log_bins(wanted))
        return mel / len(self.resolutions), linear / max(1, len(self.linear_windows))


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


def log_bins(magnitudes: Tensor) -> Tensor:
    return magnitudes.clamp(min=BIN_FLOOR).log()
