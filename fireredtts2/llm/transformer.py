"""The Qwen2 decoder stack (SPEC section 5), without token embedding and output layer."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fireredtts2.config import TransformerConfig
from fireredtts2.llm.kv_cache import KVCache
from fireredtts2.llm.span import Span, cached_span


class RMSNorm(nn.Module):
    """Root-mean-square norm, computed in float32."""

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        # rsqrt(|x|^2 / dim + eps) = sqrt(dim) * rsqrt(|x|^2 + dim * eps): fewer small operations
        # than torch's own, which costs a tenth of a frame on a CPU.
        self.gain, self.floor = dim**0.5, dim * eps
        self.scale = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()
        length = torch.linalg.vector_norm(wide, dim=-1, keepdim=True)
        inverse = torch.rsqrt(length * length + self.floor) * self.gain
        return (wide * inverse * self.scale.float()).to(x.dtype)


class Attention(nn.Module):
    """Grouped-query attention with rotary positions; bias on q, k and v only."""

    def __init__(self, config: TransformerConfig, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.head_dim = config.head_dim
        self.groups = (config.num_heads, config.num_kv_heads)
        width, kv_width = config.embed_dim, config.num_kv_heads * config.head_dim
        self.q_proj = nn.Linear(width, width)
        self.k_proj = nn.Linear(width, kv_width)
        self.v_proj = nn.Linear(width, kv_width)
        self.output_proj = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, span: Span, cache: KVCache | None) -> Tensor:
        batch, num_steps, _ = x.shape
        joined = torch.cat((self.q_proj(x), self.k_proj(x)), -1)
        turned = span.rotate(joined.view(batch, num_steps, sum(self.groups), self.head_dim))
        queries, keys = turned.transpose(1, 2).split(self.groups, 1)
        values = self.v_proj(x).view(batch, num_steps, self.groups[1], self.head_dim)
        values = values.transpose(1, 2)
        if cache is not None:
            keys, values = cache.extend(self.layer, keys, values, span.place)
        mixed = F.scaled_dot_product_attention(
            queries, keys, values, span.mask, is_causal=span.causal, enable_gqa=True
        )
        return self.output_proj(mixed.transpose(1, 2).flatten(2))


class FeedForward(nn.Module):
    """SwiGLU: w1 gates w3, w2 goes back to the model's width."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.w1 = nn.Linear(config.embed_dim, config.intermediate_dim, bias=False)
        self.w2 = nn.Linear(config.intermediate_dim, config.embed_dim, bias=False)
        self.w3 = nn.Linear(config.embed_dim, config.intermediate_dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.w2(F.silu(self.w1(x)) * self.w3(x))


class Block(nn.Module):
    """Pre-norm attention, then the pre-norm MLP, each added to its input."""

    def __init__(self, config: TransformerConfig, layer: int) -> None:
        super().__init__()
        self.attn = Attention(config, layer)
        self.mlp = FeedForward(config)
        self.sa_norm = RMSNorm(config.embed_dim, config.norm_eps)
        self.mlp_norm = RMSNorm(config.embed_dim, config.norm_eps)

    def forward(self, x: Tensor, span: Span, cache: KVCache | None) -> Tensor:
        x = x + self.attn(self.sa_norm(x), span, cache)
        return x + self.mlp(self.mlp_norm(x))


class Transformer(nn.Module):
    """The layers and the final norm."""

    def __init__(self, config: TransformerConfig) -> None:
        super().__init__()
        self.config = config
        self.layers = nn.ModuleList(Block(config, layer) for layer in range(config.num_layers))
        self.norm = RMSNorm(config.embed_dim, config.norm_eps)

    def forward(self, x: Tensor, span: Span, cache: KVCache | None = None) -> Tensor:
        """Maps rows (B, T, width) to hidden states of the same shape.

        The cache, where given, takes the rows' keys and values but keeps its lengths; `extend`
        is the call that also moves them on.
        """
        for layer in self.layers:
            x = layer(x, span, cache)
        return self.norm(x)

    def extend(self, x: Tensor, cache: KVCache, counts: Sequence[int] | None = None) -> Tensor:
        """Runs the next rows (B, T, width) after those in the cache and lengthens it by them.

        Args:
            x: New rows; T may be anything, and chunks of any size give the same result.
            cache: Keys and values of the rows before.
            counts: How many of the T rows are real, per batch row (the others are padding at
                the end); all where not given. A count of 0 leaves a batch row as it was.

        Returns:
            Hidden states (B, T, width); those of padding mean nothing.

        Raises:
            ValueError: Some batch row has no room left.
        """
        span = cached_span(self.config, cache, x.shape[1], counts)
        hidden = self(x, span, cache)
        cache.lengths += x.shape[1] if counts is None else torch.tensor(counts)
        return hidden
