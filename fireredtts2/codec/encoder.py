"""The two encoder branches: Whisper's encoder (frozen, semantic) and its like (acoustic)."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fireredtts2.codec.transformer import TransformerLayer
from fireredtts2.config import AdaptorConfig, EncoderConfig

MAX_TIMESCALE = 10_000.0


def sinusoids(length: int, channels: int) -> Tensor:
    """Whisper's fixed positions, (length, channels): sines in the first half, then cosines."""
    increment = math.log(MAX_TIMESCALE) / (channels // 2 - 1)
    scales = torch.exp(-increment * torch.arange(channels // 2))
    angles = torch.arange(length)[:, None] * scales[None, :]
    return torch.cat([angles.sin(), angles.cos()], dim=1)


class WhisperEncoder(nn.Module):
    """Log-mel (B, num_mels, T at 100 Hz) to features (B, T / 2, embed_dim) at 50 Hz."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        dim = config.embed_dim
        self.conv1 = nn.Conv1d(config.num_mels, dim, 3, padding=1)
        self.conv2 = nn.Conv1d(dim, dim, 3, stride=2, padding=1)
        self.embed_positions = nn.Embedding(config.max_positions, dim)
        self.embed_positions.weight = nn.Parameter(
            sinusoids(config.max_positions, dim), requires_grad=False
        )
        self.layers = nn.ModuleList(
            TransformerLayer(dim, config.num_heads) for _ in range(config.num_layers)
        )
        self.layer_norm = nn.LayerNorm(dim)

    def forward(self, mel: Tensor) -> Tensor:
        for x in self.states(mel):
            last = x
        return self.layer_norm(last)

    def states(self, mel: Tensor) -> Iterator[Tensor]:
        """What `forward` comes by: after the convolutions, then after each layer."""
        x = F.gelu(self.conv1(mel))
        x = F.gelu(self.conv2(x)).transpose(1, 2)
        yield x
        x = x + self.embed_positions.weight[: x.shape[1]]
        for layer in self.layers:
            x = layer(x)
            yield x


class SslAdaptor(nn.Module):
    """Linear, transformer layers, LayerNorm, Linear: (B, T, in_dim) to (B, T, out_dim)."""

    def __init__(self, config: AdaptorConfig) -> None:
        super().__init__()
        self.in_proj = nn.Linear(config.in_dim, config.embed_dim)
        self.layers = nn.ModuleList(
            TransformerLayer(config.embed_dim, config.num_heads) for _ in range(config.num_layers)
        )
        self.layer_norm = nn.LayerNorm(config.embed_dim)
        self.out_proj = nn.Linear(config.embed_dim, config.out_dim)

    def forward(self, x: Tensor) -> Tensor:
        x = self.in_proj(x)
        for layer in self.layers:
            x = layer(x)
        return self.out_proj(self.layer_norm(x))
