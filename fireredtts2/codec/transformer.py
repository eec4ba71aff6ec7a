"""The pre-norm transformer layer that encoders, adaptors and decoder share (Whisper's form)."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from fireredtts2.codec.state import AttentionState


class SelfAttention(nn.Module):
    """Multi-head attention, key projection without bias."""

    def __init__(self, embed_dim: int, num_heads: int) -> None:
        super().__init__()
        if embed_dim % num_heads:
            raise ValueError(f"embed_dim {embed_dim} is not a multiple of num_heads {num_heads}")
        self.num_heads = num_heads
        self.k_proj = nn.Linear(embed_dim, embed_dim, bias=False)
        self.v_proj = nn.Linear(embed_dim, embed_dim)
        self.q_proj = nn.Linear(embed_dim, embed_dim)
        self.out_proj = nn.Linear(embed_dim, embed_dim)

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        state: AttentionState | None = None,
        positions: Tensor | None = None,
    ) -> Tensor:
        """x (B, T, D), mask broadcastable to (B, heads, T, keys), True where seen."""
        q, k, v = (self._heads(proj(x)) for proj in (self.q_proj, self.k_proj, self.v_proj))
        if state is not None:
            assert mask is not None
            assert positions is not None
            k, v = state.extend(k, v, positions, mask.shape[-1])
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.out_proj(attended.transpose(1, 2).flatten(2))


class TransformerLayer(nn.Module):
    """x + attention(norm(x)), then x + MLP(norm(x)) with GELU, four times as wide."""

    def __init__(self, embed_dim: int, num_heads: int) -> None:
        super().__init__()
        self.self_attn = SelfAttention(embed_dim, num_heads)
        self.self_attn_layer_norm = nn.LayerNorm(embed_dim)
        self.fc1 = nn.Linear(embed_dim, 4 * embed_dim)
        self.fc2 = nn.Linear(4 * embed_dim, embed_dim)
        self.final_layer_norm = nn.LayerNorm(embed_dim)

    def forward(
        self,
        x: Tensor,
        mask: Tensor | None = None,
        state: AttentionState | None = None,
        positions: Tensor | None = None,
    ) -> Tensor:
        """x (B, T, D) to the same shape."""
        x = x + self.self_attn(self.self_attn_layer_norm(x), mask, state, positions)
        return x + self.fc2(F.gelu(self.fc1(self.final_layer_norm(x))))
