"""Multi-resolution mel loss (as in DAC, Kumar et al. 2023: L1 of log-mels, several windows)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fireredtts2.codec.mel import mel_filters
from fireredtts2.config import OUTPUT_RATE_HZ

LOG_FLOOR = 1e-5


class MelResolution(nn.Module):
    """Log-mel of one window length, (B, samples) to (B, mels, frames)."""

    filters: Tensor
    window: Tensor

    def __init__(self, window_samples: int, num_mels: int, hop_samples: int | None = None) -> None:
        super().__init__()
        self.hop = hop_samples or window_samples // 4
        filters = mel_filters(num_mels, window_samples, OUTPUT_RATE_HZ)
        self.register_buffer("filters", filters.T.contiguous())
        self.register_buffer("window", torch.hann_window(window_samples))
        self.size = window_samples

    def forward(self, audio: Tensor) -> Tensor:
        spectrum = torch.stft(audio, self.size, self.hop, window=self.window, return_complex=True)
        power = torch.view_as_real(spectrum).square().sum(-1)
        return (self.filters @ (power + 1e-10).sqrt()).clamp(min=LOG_FLOOR).log()


class MultiResolutionMelLoss(nn.Module):
    """Mean over resolutions of the L1 distance of log-mels.

    Args:
        windows: window lengths in samples with their numbers of mel bands.
    """

    def __init__(
        self,
        windows: tuple[tuple[int, int], ...] = ((256, 32), (512, 64), (1024, 100), (2048, 160)),
    ) -> None:
        super().__init__()
        self.resolutions = nn.ModuleList(MelResolution(size, mels) for size, mels in windows)

    def forward(self, made: Tensor, target: Tensor) -> Tensor:
        """(B, samples) twice, at 24 kHz, to a scalar."""
        total = made.new_zeros(())
        for resolution in self.resolutions:
            with torch.no_grad():
                wanted = resolution(target)
            total = total + (resolution(made) - wanted).abs().mean()
        return total / len(self.resolutions)
