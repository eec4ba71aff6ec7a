"""Discriminators of the adversarial phase, small enough for two cores.

Multi-period (HiFi-GAN, Kong et al. 2020) and multi-resolution spectrogram discriminators (UnivNet,
Jang et al. 2021), with a fraction of their published channels; the latter see phases as well, as in
EnCodec (Defossez et al. 2022).
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

SLOPE = 0.1
PERIODS = (2, 3, 5, 7, 11)
SPECTROGRAM_WINDOWS = (2048, 1024, 512)
PERIOD_CHANNELS = (32, 64, 128, 256)
SPECTROGRAM_CHANNELS = (16, 32, 64, 64)
COMPRESSION = 0.3  # exponent of the magnitudes: quiet bins count too

Features = list[Tensor]


class PeriodDiscriminator(nn.Module):
    """Looks at every p-th sample: the wave folded to (B, 1, samples / p, p)."""

    def __init__(self, period: int, width: int = 1) -> None:
        super().__init__()
        self.period = period
        widths = (1, *(width * channels for channels in PERIOD_CHANNELS))
        self.convs = nn.ModuleList(
            weight_norm(nn.Conv2d(a, b, (5, 1), (3, 1), (2, 0))) for a, b in pairwise(widths)
        )
        self.out = weight_norm(nn.Conv2d(widths[-1], 1, (3, 1), 1, (1, 0)))

    def forward(self, audio: Tensor) -> tuple[Tensor, Features]:
        """(B, samples) to scores and the features of every layer."""
        x = F.pad(audio, (0, -audio.shape[1] % self.period), mode="constant")
        x = x.unflatten(1, (-1, self.period))[:, None]
        features = []
        for conv in self.convs:
            x = F.leaky_relu(conv(x), SLOPE)
            features.append(x)
        return self.out(x).float(), features


class SpectrogramDiscriminator(nn.Module):
    """Looks at one short-time Fourier transform with compressed magnitudes.

    Three channels: magnitude, real and imaginary part.
    """

    window: Tensor

    def __init__(self, window_samples: int, width: int = 1) -> None:
        super().__init__()
        self.size = window_samples
        self.register_buffer("window", torch.hann_window(window_samples))
        widths = (3, *(width * channels for channels in SPECTROGRAM_CHANNELS))
        self.convs = nn.ModuleList(
            weight_norm(nn.Conv2d(a, b, (3, 5), (1, 2), (1, 2))) for a, b in pairwise(widths)
        )
        self.out = weight_norm(nn.Conv2d(widths[-1], 1, 3, 1, 1))

    def forward(self, audio: Tensor) -> tuple[Tensor, Features]:
        """(B, samples) to scores and the features of every layer."""
        spectrum = torch.stft(
            audio, self.size, self.size // 4, window=self.window, return_complex=True
        )
        parts = torch.view_as_real(spectrum)
        power = parts.square().sum(-1, keepdim=True) + 1e-8
        magnitude = power ** (COMPRESSION / 2)
        x = torch.cat([magnitude, parts * (magnitude * power**-0.5)], -1)
        x = x.permute(0, 3, 2, 1)  # (B, 3, frames, bins)
        features = []
        for conv in self.convs:
            x = F.leaky_relu(conv(x), SLOPE)
            features.append(x)
        return self.out(x).float(), features


class Discriminators(nn.Module):
    """All of them together; `width` multiplies their channels."""

    def __init__(self, width: int = 1) -> None:
        super().__init__()
        self.members = nn.ModuleList(
            [PeriodDiscriminator(p, width) for p in PERIODS]
            + [SpectrogramDiscriminator(w, width) for w in SPECTROGRAM_WINDOWS]
        )

    def forward(self, audio: Tensor) -> list[tuple[Tensor, Features]]:
        return [member(audio) for member in self.members]

    def loss(self, made: Tensor, real: Tensor) -> Tensor:
        """Least-squares loss of the discriminators (Mao et al. 2017), for (B, samples) twice."""
        total = made.new_zeros(())
        both = torch.cat([real, made.detach()])
        for scores, _ in self(both):
            for_real, for_made = scores.chunk(2)
            total = total + (1 - for_real).square().mean() + for_made.square().mean()
        return total / len(self.members)

    def generator_losses(self, made: Tensor, real: Tensor) -> tuple[Tensor, Tensor]:
        """Adversarial and feature-matching loss of the generator."""
        adversarial, matching = made.new_zeros(()), made.new_zeros(())
        with torch.no_grad():
            wanted = self(real)
        for (scores, features), (_, targets) in zip(self(made), wanted, strict=True):
            adversarial = adversarial + (1 - scores).square().mean()
            for feature, target in zip(features, targets, strict=True):
                matching = matching + (feature - target).abs().float().mean() / len(features)
        count = len(self.members)
        return adversarial / count, matching / count
