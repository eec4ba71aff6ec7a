"""Residual vector quantizer with projected codebooks (SPEC section 7, step 6).

Each quantizer looks at the residual through a narrow projection (factorized codes, Yu et al. 2021),
and takes the nearest entry by Euclidean distance. All of it runs in float32.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from fireredtts2.config import RvqConfig


def projection(in_dim: int, out_dim: int) -> nn.Conv1d:
    """A weight-normed 1x1 convolution."""
    return cast(nn.Conv1d, weight_norm(nn.Conv1d(in_dim, out_dim, 1)))


@dataclass
class Quantized:
    """What training needs of one pass: values (B, D, T), codes (B, Q, T), loss (scalar)."""

    values: Tensor
    codes: Tensor
    commitment: Tensor


class Quantizer(nn.Module):
    """One codebook between its projections.

    `cluster_size`, `embed_avg` and `inited` are the moving averages that training keeps
    (`fireredtts2.training.codebook`); they belong to the published state dict.
    """

    codebook: Tensor
    cluster_size: Tensor
    embed_avg: Tensor
    inited: Tensor

    def __init__(self, config: RvqConfig) -> None:
        super().__init__()
        size, dim = config.codebook_size, config.codebook_dim
        self.in_project = projection(config.rvq_dim, dim)
        self.out_project = projection(dim, config.rvq_dim)
        self.register_buffer("codebook", torch.randn(size, dim) * dim**-0.5)
        self.register_buffer("cluster_size", torch.zeros(size))
        self.register_buffer("embed_avg", torch.zeros(size, dim))
        self.register_buffer("inited", torch.zeros(1, dtype=torch.bool))

    def nearest(self, projected: Tensor) -> Tensor:
        """(B, dim, T) to the index of the nearest entry, (B, T) int64."""
        points = projected.transpose(1, 2)
        cross = points @ self.codebook.T
        distance = points.square().sum(-1, keepdim=True) - 2 * cross + self.codebook.square().sum(1)
        return distance.argmin(dim=-1)

    def lookup(self, codes: Tensor) -> Tensor:
        """(B, T) to the entries out-projected, (B, rvq_dim, T)."""
        return self.out_project(F.embedding(codes, self.codebook).transpose(1, 2))


class ResidualVQ(nn.Module):
    """(B, input_dim, T) to codes (B, Q, T), and codes back to (B, output_dim, T)."""

    def __init__(self, config: RvqConfig) -> None:
        super().__init__()
        self.config = config
        self.input_proj = projection(config.input_dim, config.rvq_dim)
        self.quantizers = nn.ModuleList(Quantizer(config) for _ in range(config.num_quantizers))
        self.output_proj = projection(config.rvq_dim, config.output_dim)

    @property
    def levels(self) -> Sequence[Quantizer]:
        """The quantizers, coarse to fine."""
        return cast(Sequence[Quantizer], self.quantizers)

    def encode(self, x: Tensor) -> Tensor:
        """(B, input_dim, T) to codes (B, Q, T) int64."""
        residual = self.input_proj(x.float())
        codes = []
        for quantizer in self.levels:
            code = quantizer.nearest(quantizer.in_project(residual))
            residual = residual - quantizer.lookup(code)
            codes.append(code)
        return torch.stack(codes, dim=1)

    def decode(self, codes: Tensor) -> Tensor:
        """Codes (B, q, T) of the first q <= Q codebooks to (B, output_dim, T)."""
        total: Tensor | float = 0.0
        for quantizer, code in zip(self.levels, codes.unbind(1), strict=False):
            total = total + quantizer.lookup(code)
        assert isinstance(total, Tensor)
        return self.output_proj(total)

    def forward(self, x: Tensor, num_active: Tensor | None = None) -> Quantized:
        """Training pass with straight-through gradients.

        Args:
            x: (B, input_dim, T).
            num_active: (B,) how many codebooks each row uses (quantizer dropout); all by default.
                The others add nothing to its values, nor to the loss.
        """
        residual = self.input_proj(x.float())
        total = torch.zeros_like(residual)
        commitment = residual.new_zeros(())
        codes = []
        for index, quantizer in enumerate(self.levels):
            projected = quantizer.in_project(residual)
            code = quantizer.nearest(projected.detach())
            entry = F.embedding(code, quantizer.codebook).transpose(1, 2)
            distance = (projected - entry).square()
            value = quantizer.out_project(projected + (entry - projected).detach())
            if num_active is not None:
                is_active = (num_active > index).to(value.dtype)[:, None, None]
                value, distance = value * is_active, distance * is_active
            commitment = commitment + distance.mean()
            total, residual = total + value, residual - value
            codes.append(code)
        return Quantized(self.output_proj(total), torch.stack(codes, dim=1), commitment)
