"""Stage one's decoder: from 50 Hz features to log-mel spectrograms of several windows.

A spectrogram has no phase to learn, so encoder and quantizer come to carry what is heard within a
small part of the steps that a decoder of sound needs; the decoder of sound is stage two's.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fireredtts2.codec.decoder import DecoderBackbone
from fireredtts2.config import DecoderConfig
from fireredtts2.training.spectral_losses import MelResolution

HOP_SAMPLES = 240
HOPS_PER_FEATURE = 2  # 100 Hz spectra from 50 Hz features
# Short windows place onsets, long ones resolve the harmonics of a voice.
WINDOWS = ((512, 80), (1024, 100), (2048, 160))
NUM_BANDS = sum(bands for _, bands in WINDOWS)
NUM_LAYERS = 1
HEAD_DIM = 64


class Spectrograms(nn.Module):
    """Audio (B, samples) at 24 kHz to the log-mels of all windows, (B, samples / 240, bands)."""

    def __init__(self) -> None:
        super().__init__()
        self.resolutions = nn.ModuleList(
            MelResolution(size, bands, HOP_SAMPLES) for size, bands in WINDOWS
        )

    @torch.no_grad()
    def forward(self, audio: Tensor) -> Tensor:
        num_steps = audio.shape[1] // HOP_SAMPLES
        mels = [resolution(audio)[:, :, :num_steps] for resolution in self.resolutions]
        return torch.cat(mels, dim=1).transpose(1, 2)


class SpectrogramDecoder(nn.Module):
    """Features (B, T at 50 Hz, D) to log-mels (B, 2 * T, bands), by the non-causal backbone."""

    def __init__(self, embed_dim: int, num_layers: int = NUM_LAYERS) -> None:
        super().__init__()
        heads = max(1, embed_dim // HEAD_DIM)
        config = DecoderConfig(embed_dim, num_layers, heads, HOP_SAMPLES, causal=False)
        self.backbone = DecoderBackbone(config)
        self.out = nn.Linear(embed_dim, HOPS_PER_FEATURE * NUM_BANDS)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(self.backbone(x)).unflatten(-1, (HOPS_PER_FEATURE, -1)).flatten(1, 2)
