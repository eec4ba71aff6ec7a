"""Which rows one transformer call covers: their rotary angles and what each may attend to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor

from fireredtts2.config import TransformerConfig
from fireredtts2.llm.kv_cache import KVCache, Place


@dataclass(frozen=True)
class Span:
    """Rows of one call, worked out once and used by every layer.

    `cos` and `sin` are float32 whatever the model's type; they broadcast to
    (B, T, heads, 2, head_dim / 2). `mask` is bool (B or 1, 1, T, keys), true where a row may
    attend; without one, rows attend to all keys, or to no later row where `causal` is set.
    `place` says where in the cache the rows are kept.
    """

    cos: Tensor
    sin: Tensor
    mask: Tensor | None = None
    causal: bool = False
    place: Place = Place()  # noqa: RUF009 - frozen

    def rotate(self, x: Tensor) -> Tensor:
        """Turns x (B, T, heads, head_dim) by its rows' angles, half-split, in float32."""
        return self.rotate_wide(x).to(x.dtype)

    def rotate_wide(self, x: Tensor) -> Tensor:
        """`rotate` with a result in float32."""
        halves = x.float().unflatten(-1, (2, x.shape[-1] // 2))
        return torch.addcmul(halves * self.cos, halves.flip(-2), self.sin).flatten(-2)


@lru_cache(maxsize=16)
def rotary_table(
    head_dim: int, base: float, num_positions: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Cosine and signed sine (num_positions, 1, 2, head_dim / 2), float32.

    Kept here and not in the module, so that no cast of the model touches them and no state dict
    carries them. The sine of the first half is negated: `rotate` then needs only a flip.
    """
    with torch.inference_mode(False), torch.no_grad():
        exponents = torch.arange(0, head_dim, 2, dtype=torch.float64) / head_dim
        angles = torch.outer(torch.arange(num_positions, dtype=torch.float64), base**-exponents)
        cos = torch.stack((angles.cos(), angles.cos()), 1)
        sin = torch.stack((-angles.sin(), angles.sin()), 1)
        return cos.float()[:, None].to(device), sin.float()[:, None].to(device)


def whole_span(config: TransformerConfig, num_steps: int, device: torch.device) -> Span:
    """Rows 0 to `num_steps` without a cache, each seeing itself and those before it."""
    cos, sin = _table(config, num_steps, device)
    return Span(cos[:num_steps], sin[:num_steps], causal=True)


def packed_span(config: TransformerConfig, positions: Tensor, attention_mask: Tensor) -> Span:
    """Rows without a cache at positions (B, T) under a mask (B, T, T), true where attended."""
    cos, sin = _table(config, positions.shape[1], positions.device)
    return Span(cos[positions], sin[positions], mask=attention_mask[:, None])


def cached_span(
    config: TransformerConfig, cache: KVCache, num_steps: int, counts: Sequence[int] | None = None
) -> Span:
    """The next `num_steps` rows of every batch row, after those that the cache holds.

    Args:
        config: Sizes of the transformer.
        cache: Its keys and values; their lengths give the offsets.
        num_steps: T, rows handed in for every batch row.
        counts: How many of the T are real, per batch row; the others are padding at the end.
            All of them where not given.

    Raises:
        ValueError: Some batch row has no room left.
    """
    starts = cache.lengths.tolist()
    counts = [num_steps] * cache.batch if counts is None else list(counts)
    ends = [start + count for start, count in zip(starts, counts, strict=True)]
    if max(ends) > cache.capacity:
        raise ValueError(
            f"a row would hold {max(ends)} positions; the cache has room for {cache.capacity}"
        )
    cos, sin = _table(config, cache.capacity, cache.device)
    if min(starts) == max(starts) and min(counts) == num_steps:
        return _even_span(cos, sin, starts[0], num_steps)
    return _ragged_span(cos, sin, cache, num_steps, counts, max(ends))


def _even_span(cos: Tensor, sin: Tensor, start: int, num_steps: int) -> Span:
    end = start + num_steps
    mask = None
    if start > 0 and num_steps > 1:
        mask = torch.ones(num_steps, end, dtype=torch.bool, device=cos.device).tril(start)
        mask = mask[None, None]
    causal = start == 0 and num_steps > 1
    return Span(cos[start:end], sin[start:end], mask, causal, Place(start, num_keys=end))


def _ragged_span(
    cos: Tensor,
    sin: Tensor,
    cache: KVCache,
    num_steps: int,
    counts: list[int],
    num_keys: int,
) -> Span:
    steps = torch.arange(num_steps)
    positions = cache.lengths[:, None] + steps
    padding = steps >= torch.tensor(counts)[:, None]
    # NOTE: padding is written to the spare slot and looks at whatever is there; nobody sees it.
    slots = positions.masked_fill(padding, cache.capacity).to(cos.device)
    positions = positions.clamp(max=cos.shape[0] - 1).to(cos.device)
    mask = torch.arange(max(num_keys, 1), device=cos.device) <= positions[:, :, None]
    return Span(
        cos[positions],
        sin[positions],
        mask[:, None],
        place=Place(slots=slots, num_keys=mask.shape[-1]),
    )


def _table(
    config: TransformerConfig, num_positions: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    if num_positions > config.max_seq_len:
        raise ValueError(
            f"{num_positions} positions asked for; the model has at most {config.max_seq_len}"
        )
    return rotary_table(config.head_dim, config.rope_base, config.max_seq_len, device)
