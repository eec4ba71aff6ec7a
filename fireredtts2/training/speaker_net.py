"""A small network that tells speakers apart, and how far two sounds of one speaker are for it.

An x-vector network (Snyder et al. 2018) with attentive statistics (Okabe et al. 2018), which learns
to name a corpus's speakers. Spectra weigh whatever is there; its features weigh what a voice is
known by (feature losses of a frozen network: Johnson et al. 2016).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fireredtts2.training.content_loss import features_apart
from fireredtts2.training.precision import computing_quickly
from fireredtts2.training.spectral_losses import MelResolution

WINDOW_SAMPLES, HOP_SAMPLES = 1024, 240  # at 24 kHz
NUM_MELS = 80
DILATIONS = (1, 2, 3, 4, 1)
EMBEDDING_DIM = 192
MIN_VARIANCE = 1e-5
EMBEDDING_SHARE = 0.5  # of the embeddings' distance, beside that of the layers


class _Block(nn.Module):
    def __init__(self, width: int, dilation: int) -> None:
        super().__init__()
        self.conv = nn.Conv1d(width, width, 3, dilation=dilation, padding=dilation)
        self.norm = nn.GroupNorm(1, width)
        self.mix = nn.Conv1d(width, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.mix(F.gelu(self.norm(self.conv(x))))


class SpeakerNet(nn.Module):
    """Sound to an embedding of who speaks.

    Args:
        num_speakers: that it learns to name.
        width: of its layers.
    """

    def __init__(self, num_speakers: int, width: int = 256) -> None:
        super().__init__()
        self.mel = MelResolution(WINDOW_SAMPLES, NUM_MELS, HOP_SAMPLES)
        self.first = nn.Conv1d(NUM_MELS, width, 5, stride=2, padding=2)
        self.blocks = nn.ModuleList(_Block(width, dilation) for dilation in DILATIONS)
        self.pooled = nn.Conv1d(width, 2 * width, 1)
        self.attention = nn.Sequential(
            nn.Conv1d(2 * width, width // 4, 1), nn.Tanh(), nn.Conv1d(width // 4, 2 * width, 1)
        )
        self.last = nn.Linear(4 * width, EMBEDDING_DIM)
        self.speakers = nn.Parameter(torch.randn(num_speakers, EMBEDDING_DIM))

    def forward(self, audio: Tensor) -> tuple[list[Tensor], Tensor]:
        """Audio (B, samples) at 24 kHz.

        Returns:
            Each layer's features (B, width, frames), 50 a second, and the embeddings
            (B, EMBEDDING_DIM) float32 of length 1.
        """
        x = self.first(self.mel(audio.float()) / 4 + 1)  # about -2 to 1, whatever the level
        layers = []
        for block in self.blocks:
            x = block(x)
            layers.append(x)
        values = F.relu(self.pooled(x)).float()
        weights = self.attention(values).float().softmax(-1)
        mean = (weights * values).sum(-1)
        variance = (weights * values.square()).sum(-1) - mean.square()
        statistics = torch.cat([mean, variance.clamp(min=MIN_VARIANCE).sqrt()], 1)
        return layers, F.normalize(self.last(statistics).float(), dim=-1)

    def similarities(self, embeddings: Tensor) -> Tensor:
        """Cosines (B, num_speakers) of embeddings (B, EMBEDDING_DIM) to the speakers."""
        return embeddings @ F.normalize(self.speakers, dim=-1).T


class VoiceLoss(nn.Module):
    """How unlike a voice sounds: the mean over layers of the L1 distance relative to their size.

    To it comes a share of 1 less the embeddings' cosine.

    Args:
        net: frozen here; it is only read.
    """

    def __init__(self, net: SpeakerNet) -> None:
        super().__init__()
        self.net = net.eval().requires_grad_(False)

    def forward(self, made: Tensor, real: Tensor) -> Tensor:
        """Audio (B, samples) at 24 kHz twice, gradients to the first, to a scalar."""
        with computing_quickly(made.device):
            with torch.no_grad():
                wanted, speaker = self.net(real)
            found, heard = self.net(made)
        apart = 1 - (heard * speaker).sum(-1).mean()
        return features_apart(found, wanted) + EMBEDDING_SHARE * apart
