"""The least time that a frame can take: its bytes over the rate at which memory can be copied."""

from __future__ import annotations

import torch

from benchmarks.clock import timed
from fireredtts2.config import LLMConfig, TransformerConfig
from fireredtts2.llm.fused import WeightKind

COPY_BYTES = {"cuda": 1 << 30, "cpu": 1 << 28}  # far more than any cache holds
QUICK_COPY_BYTES = 1 << 22
COPIES = 3


class CopyTest:
    """A large copy within the device's memory; each call takes one sample."""

    def __init__(self, device: torch.device, quick: bool) -> None:
        num_bytes = QUICK_COPY_BYTES if quick else COPY_BYTES.get(device.type, 1 << 28)
        self._device = device
        self._source = torch.ones(num_bytes, dtype=torch.uint8, device=device)
        self._target = torch.zeros_like(self._source)  # written once, so that its pages are there

    def __call__(self) -> float:
        """Bytes a second, read and written ones both counted; the best of a few copies."""
        copy = self._target.copy_
        seconds = min(timed(lambda: copy(self._source), self._device) for _ in range(COPIES))
        return 2 * self._source.nbytes / seconds


def weight_bytes(kind: WeightKind) -> int:
    """Of one weight; int8's scales are left out."""
    return {"float32": 4, "bfloat16": 2}.get(kind, 1)


def frame_weights(config: LLMConfig) -> int:
    """Weights that one frame must read, however many listeners share it.

    The depth decoder is read once for every code after the first: a code must be known before the
    next one's step begins, and no cache of today's devices holds the decoder at official size. (A
    CPU's cache does hold the embedded model's, whose limit is therefore not a limit.)
    """
    num_steps = config.audio_num_codebooks - 1
    backbone, decoder = config.backbone, config.decoder
    heads = (backbone.embed_dim + num_steps * decoder.embed_dim) * config.audio_vocab_size
    projection = backbone.embed_dim * decoder.embed_dim if num_steps else 0
    return stack_weights(backbone) + num_steps * stack_weights(decoder) + projection + heads


def stack_weights(config: TransformerConfig) -> int:
    """Matrices of a transformer's layers; biases and norm scales are nothing beside them."""
    width = config.embed_dim
    key_width = config.num_kv_heads * config.head_dim
    attention = 2 * width * width + 2 * width * key_width
    return config.num_layers * (attention + 3 * width * config.intermediate_dim)


def row_numbers(config: TransformerConfig) -> int:
    """Keys and values that the cache keeps of one row."""
    return 2 * config.num_layers * config.num_kv_heads * config.head_dim


def frame_bytes(
    config: LLMConfig, kind: WeightKind, bytes_per_cached: int, batch: int, num_rows: int
) -> int:
    """What one frame must read: weights once, and every listener's keys and values."""
    cached = batch * num_rows * row_numbers(config.backbone) * bytes_per_cached
    return frame_weights(config) * weight_bytes(kind) + cached
