"""How the codebooks learn: a start from data, moving averages, and restarts of dead entries.

The start is greedy: level by level, the projections are the principal directions of what the levels
before left over, and the entries are k-means centres there. It spares a small budget the thousands
of steps that random codebooks need to come alive. Moving averages as in VQ-VAE (van den Oord et al.
2017, appendix A.1), restarts as in Jukebox (Dhariwal et al. 2020).
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fireredtts2.codec.rvq import Quantizer, ResidualVQ

KMEANS_ROUNDS = 12
DECAY = 0.98
DEAD_SHARE = 0.03  # of an entry's even share of a step's points: one used less is restarted


def set_projection(module: nn.Conv1d, weight: Tensor, bias: Tensor) -> None:
    """Sets a weight-normed 1x1 convolution to weight (out, in) and bias (out,)."""
    assert module.bias is not None
    # Setting a parametrized weight goes through its right inverse, which splits it.
    # NOTE: in memory of its own, in order: the parameter takes on the layout, sums run in the order
    # of the layout, and a resumed run, which has it in order, would not be the uncut one.
    module.weight = weight[:, :, None].clone(memory_format=torch.contiguous_format)
    with torch.no_grad():
        module.bias.copy_(bias)


def kmeans(points: Tensor, num_centres: int, generator: torch.Generator) -> Tensor:
    """Lloyd's algorithm on (N, D); empty clusters restart at random points."""
    chosen = torch.randperm(len(points), generator=generator)[:num_centres]
    centres = points[chosen].clone()
    for _ in range(KMEANS_ROUNDS):
        labels = nearest(points, centres)
        counts = torch.bincount(labels, minlength=num_centres)
        sums = torch.zeros_like(centres).index_add_(0, labels, points)
        centres = sums / counts.clamp(min=1)[:, None]
        empty = (counts == 0).nonzero()[:, 0]
        fresh = torch.randint(len(points), (len(empty),), generator=generator)
        centres[empty] = points[fresh]
    return centres


def nearest(points: Tensor, centres: Tensor) -> Tensor:
    """Index of the nearest centre of each of (N, D) points."""
    return (centres.square().sum(1) - 2 * points @ centres.T).argmin(1)


@torch.no_grad()
def start_from_data(rvq: ResidualVQ, latents: Tensor, generator: torch.Generator) -> list[float]:
    """Sets projections and codebooks from latents (N, rvq_dim), after the input projection.

    Returns:
        The share of the latents' variance left after each level.
    """
    mean = latents.mean(0)
    total = (latents - mean).square().sum()
    residual, left = latents.clone(), []
    for quantizer in rvq.levels:
        offset = residual.mean(0)
        _, _, directions = torch.linalg.svd(residual - offset, full_matrices=False)
        basis = directions[: quantizer.codebook.shape[1]]
        set_projection(quantizer.in_project, basis, -basis @ offset)
        set_projection(quantizer.out_project, basis.T, offset)
        points = (residual - offset) @ basis.T
        centres = kmeans(points, len(quantizer.codebook), generator)
        labels = nearest(points, centres)
        set_entries(quantizer, centres, torch.bincount(labels, minlength=len(centres)))
        residual = residual - centres[labels] @ basis - offset
        left.append(float(residual.square().sum() / total))
    return left


def set_entries(quantizer: Quantizer, centres: Tensor, counts: Tensor) -> None:
    """Fills a codebook and its moving averages."""
    quantizer.codebook.copy_(centres)
    # The averages speak of one step's uses; start every entry well alive.
    quantizer.cluster_size.copy_(counts.clamp(min=1) / counts.sum() * len(counts))
    quantizer.embed_avg.copy_(centres * quantizer.cluster_size[:, None])
    quantizer.inited.fill_(True)


@torch.no_grad()
def update_averages(
    quantizer: Quantizer, points: Tensor, codes: Tensor, generator: torch.Generator | None = None
) -> int:
    """One step of moving averages; dead entries restart at points of this step.

    Args:
        quantizer: whose codebook moves.
        points: (N, codebook_dim) what was quantized.
        codes: (N,) which entry each point took.
        generator: a CPU generator for the restarts, torch's own where not given.

    Returns:
        How many entries were restarted.
    """
    size = len(quantizer.codebook)
    counts = torch.bincount(codes, minlength=size).float()
    sums = torch.zeros_like(quantizer.embed_avg).index_add_(0, codes, points)
    quantizer.cluster_size.lerp_(counts, 1 - DECAY)
    quantizer.embed_avg.lerp_(sums, 1 - DECAY)
    dead = (quantizer.cluster_size < DEAD_SHARE * len(points) / size).nonzero()[:, 0]
    dead = dead[: len(points)]
    chosen = points[torch.randperm(len(points), generator=generator)[: len(dead)]]
    alive = float(len(points)) / size
    quantizer.cluster_size[dead] = alive
    quantizer.embed_avg[dead] = chosen * alive
    quantizer.codebook.copy_(entries(quantizer))
    return len(dead)


def entries(quantizer: Quantizer) -> Tensor:
    """The codebook (size, codebook_dim) that its moving averages make."""
    return quantizer.embed_avg / quantizer.cluster_size[:, None].clamp(min=1e-6)


def rarest_entries_first(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Gives index 0 of every codebook to its least used entry.

    A frame of zeros ends a turn; where speech hardly uses 0, the model tells the end apart clearly.
    """
    state = dict(state)
    for key in [key for key in state if key.endswith(".cluster_size")]:
        rarest = int(state[key].argmin())
        order = torch.arange(len(state[key]))
        order[0], order[rarest] = rarest, 0
        for name in ("cluster_size", "embed_avg", "codebook"):
            entry = key.replace("cluster_size", name)
            state[entry] = state[entry][order]
    return state
