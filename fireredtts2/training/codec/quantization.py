"""How stage one goes through the quantizer: noise at first, then codebooks that learn.

The first steps add noise in place of quantization; then the codebooks start from the latents
(`codebook.start_from_data`) and learn by moving averages.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from fireredtts2.codec.rvq import Quantized, ResidualVQ
from fireredtts2.training.codebook import start_from_data, update_averages

#: What each level quantized: points (N, codebook_dim) and the entries they took (N,).
Uses = list[tuple[Tensor, Tensor]]


def with_noise(
    rvq: ResidualVQ, latents: Tensor, share: float, generator: torch.Generator
) -> Tensor:
    """Latents (B, D, T) through the projections alone, with noise: (B, output_dim, T)."""
    values = rvq.input_proj(latents)
    # NOTE: noise in proportion to the latents' size, with gradient, so that growing does
    # not escape it: what matters must stand above it, as it must above quantization.
    noise = torch.randn(values.shape, generator=generator).to(values.device)
    return rvq.output_proj(values + share * values.std() * noise)


def with_dropout(
    rvq: ResidualVQ,
    latents: Tensor,
    share: float,
    generator: torch.Generator,
    few: int = 0,
    few_share: float = 0.0,
) -> Quantized:
    """Latents (B, D, T) quantized by all codebooks, in some rows by the first few alone.

    Args:
        rvq: the quantizer.
        latents: what the encoder made.
        share: of the rows, which use any number of codebooks.
        generator: on the CPU.
        few: how many codebooks a second share of the rows uses.
        few_share: that share.
    """
    count, rows = rvq.config.num_quantizers, latents.shape[0]
    place = torch.rand(rows, generator=generator)
    drawn = torch.randint(1, count + 1, (rows,), generator=generator)
    active = torch.where(place < share + few_share, few, count)
    return rvq(latents, torch.where(place < share, drawn, active).to(latents.device))


@torch.no_grad()
def uses_of(rvq: ResidualVQ, latents: Tensor, live: Tensor) -> Uses:
    """What every level quantizes in latents (B, D, T) whose first `live` (B,) frames count.

    All levels of every row, as in use: where a row's last levels were dropped, the pass that made
    the losses had other remainders for them, and so other entries.
    """
    residual = rvq.input_proj(latents)
    chosen = torch.arange(latents.shape[2], device=live.device) < live[:, None]
    uses = []
    for quantizer in rvq.levels:
        points = quantizer.in_project(residual)
        code = quantizer.nearest(points)
        residual = residual - quantizer.lookup(code)
        uses.append((points.transpose(1, 2)[chosen], code[chosen]))
    return uses


@torch.no_grad()
def learn_codebooks(
    rvq: ResidualVQ, batches: Sequence[Uses], generator: torch.Generator | None = None
) -> None:
    """One step of the codebooks over the uses of some batches."""
    for quantizer, *uses in zip(rvq.levels, *batches, strict=True):
        points = torch.cat([points for points, _ in uses])
        update_averages(quantizer, points, torch.cat([codes for _, codes in uses]), generator)


@torch.no_grad()
def start_codebooks(
    rvq: ResidualVQ, latents: Iterable[tuple[Tensor, Tensor]], generator: torch.Generator
) -> list[float]:
    """Sets projections and codebooks from the encoder's results.

    Args:
        rvq: the quantizer.
        latents: (B, T, D) with their live frames (B,) each.
        generator: on the CPU.

    Returns:
        The share of the latents' variance left after each level.

    Raises:
        ValueError: fewer frames than a codebook has entries.
    """
    parts = []
    for encoded, live in latents:
        x = rvq.input_proj(encoded.float().mT)
        chosen = torch.arange(x.shape[2], device=live.device) < live[:, None]
        parts.append(x.transpose(1, 2)[chosen])
    points, size = torch.cat(parts), rvq.config.codebook_size
    if len(points) < size:
        raise ValueError(
            f"the codebooks of {size} entries cannot start from {len(points)} frames; more sound, "
            "or larger batches, are needed"
        )
    return start_from_data(rvq, points, generator)
