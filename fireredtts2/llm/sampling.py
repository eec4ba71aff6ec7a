"""Drawing codes from logits: temperature, top-k and one stream of random numbers per row."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from fireredtts2.config import DEFAULT_TEMPERATURE, DEFAULT_TOPK, DEPTH_TEMPERATURE, DEPTH_TOPK

GREEDY_TEMPERATURE = 0.0


@dataclass(frozen=True)
class SamplingParams:
    """How one row draws its codes.

    `temperature`, `topk` and `nsigma` are for code 0, the `depth_` ones for the codes after it.
    A temperature of 0 takes the likeliest code. `nsigma` cuts off codes whose logits lie more
    than so many standard deviations below the best.
    """

    temperature: float = DEFAULT_TEMPERATURE
    topk: int = DEFAULT_TOPK
    depth_temperature: float = DEPTH_TEMPERATURE
    depth_topk: int = DEPTH_TOPK
    nsigma: float = math.inf

    def __post_init__(self) -> None:
        for name in ("temperature", "depth_temperature"):
            value = getattr(self, name)
            if not (is_number(value) and math.isfinite(value) and value >= 0):
                raise ValueError(f"{name} {value!r}: must be a finite number, 0 or above")
        for name in ("topk", "depth_topk"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ValueError(f"{name} {value!r}: must be a whole number, 1 or above")
        if not (is_number(self.nsigma) and self.nsigma > 0):
            raise ValueError(f"nsigma {self.nsigma!r}: must be above 0")


def is_number(value: object) -> bool:
    """Whether it is an int or a float; a bool is neither here."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def mask_logits(
    logits: Tensor,
    temperature: float | Tensor,
    topk: int | Tensor,
    nsigma: float | Tensor = math.inf,
    largest_topk: int | None = None,
) -> Tensor:
    """Logits over the temperature, those that are cut off at -inf; ties at the cut are kept.

    `largest_topk`, where given, is not below any of `topk`, which then need not be looked at.
    """
    scaled = logits / temperature
    if largest_topk is None:
        largest_topk = topk if isinstance(topk, int) else int(topk.max())
    best = torch.topk(scaled, min(largest_topk, logits.shape[-1])).values
    if isinstance(topk, int):
        cut = best[..., -1:]
    else:
        cut = best.gather(-1, topk.clamp(max=best.shape[-1]) - 1)
    if nsigma is not math.inf:
        deviation = scaled.std(-1, keepdim=True)
        cut = torch.maximum(cut, best[..., :1] - nsigma * deviation)
    return scaled.masked_fill(scaled < cut, -math.inf)


def topk_probs(
    logits: Tensor,
    temperature: float | Tensor,
    topk: int | Tensor,
    nsigma: float | Tensor = math.inf,
) -> Tensor:
    """The distribution that a draw is made from, in the logits' own type.

    Args:
        logits: (B, V).
        temperature: Above 0; a number, or one per row (B, 1).
        topk: How many of the best are kept; a number, or one per row (B, 1) int64.
        nsigma: Those this many standard deviations below the best are cut off too; a number, or
            one per row (B, 1).

    Returns:
        Probabilities (B, V).
    """
    # In exact arithmetic log_softmax changes nothing here; in bfloat16 it gives published numbers.
    return torch.softmax(mask_logits(logits, temperature, topk, nsigma).log_softmax(-1), -1)


class CodeSource(Protocol):
    """What a frame is drawn by; `Sampler` says how."""

    def noise(self, num_codebooks: int, vocab: int, /) -> Tensor: ...
    def draw(self, logits: Tensor, noise: Tensor, codebook: int) -> Tensor: ...


class Sampler:
    """Draws for a batch of rows, each with its own parameters and random numbers.

    What a row draws depends on its logits, its parameters and its generator alone. The noise of
    a whole frame is drawn at once, before the frame's logits exist, so that nothing in the frame
    waits for a random number.
    """

    def __init__(
        self,
        params: Sequence[SamplingParams],
        generators: Sequence[torch.Generator],
        codebook_size: int | None = None,
        device: torch.device | None = None,
    ) -> None:
        """Prepares the rows' parameters.

        Args:
            params: One per batch row.
            generators: One per batch row, on the model's device.
            codebook_size: Codes at and above it are never drawn: the audio vocabulary has more
                ids than the codec has entries. No limit where not given.
            device: Where the parameters lie; by default where the noise does. To have them copied
                from here, the CPU: nothing then waits for the device.
        """
        if len(params) != len(generators) or not params:
            raise ValueError(
                f"{len(params)} sampling parameters and {len(generators)} generators given; "
                "each batch row needs one of both"
            )
        self.generators = list(generators)
        self.codebook_size = codebook_size
        device = device or self.generators[0].device
        self.first = DrawingRows([(p.temperature, p.topk, p.nsigma) for p in params], device)
        depth = [(p.depth_temperature, p.depth_topk, math.inf) for p in params]
        self.depth = DrawingRows(depth, device)

    @property
    def largest_topk(self) -> int:
        """Of all rows and codes."""
        return max(self.first.largest_topk, self.depth.largest_topk)

    @classmethod
    def greedy(cls, batch: int, codebook_size: int | None = None) -> Sampler:
        """Always the likeliest code, on the CPU."""
        params = SamplingParams(GREEDY_TEMPERATURE, 1, GREEDY_TEMPERATURE, 1)
        return cls([params] * batch, [torch.Generator() for _ in range(batch)], codebook_size)

    def noise(self, num_codebooks: int, vocab: int) -> Tensor:
        """Gumbel noise of one frame, (B, num_codebooks, vocab) float32."""
        shape = (len(self.generators), num_codebooks, vocab)
        noise = torch.empty(shape, device=self.generators[0].device)
        for row, generator in zip(noise, self.generators, strict=True):
            row.exponential_(generator=generator)
        return noise.log_().neg_()

    def draw(self, logits: Tensor, noise: Tensor, codebook: int) -> Tensor:
        """Draws one code per row.

        Args:
            logits: (B, vocab), any type; everything here is done in float32.
            noise: The frame's, from `noise`.
            codebook: Which code of the frame.

        Returns:
            Codes (B,) int64.
        """
        size = self.codebook_size
        rows = self.depth if codebook else self.first
        return rows.draw(logits.float()[:, :size], noise[:, codebook, :size])


class DrawingRows:
    """How the rows of a batch draw: plain numbers where they agree, else (B, 1) tensors.

    Args:
        rows: temperature, top-k and nsigma of each.
        device: of the logits.
    """

    def __init__(self, rows: Sequence[tuple[float, int, float]], device: torch.device) -> None:
        # A greedy row keeps the best alone and hears no noise: the first of equals is taken.
        settled = [row if row[0] > GREEDY_TEMPERATURE else (1.0, 1, math.inf) for row in rows]
        self.largest_topk = max(topk for _, topk, _ in settled)
        loudness = [[float(row[0] > GREEDY_TEMPERATURE)] for row in rows]
        self.loudness = torch.tensor(loudness, device=device)
        columns = [torch.tensor(column)[:, None] for column in zip(*settled, strict=True)]
        self.tensors = [column.to(device) for column in columns]
        self._agreed = settled[0] if len(set(settled)) == 1 else None

    def draw(self, logits: Tensor, noise: Tensor) -> Tensor:
        """One code for each row of logits (B, V) float32 with Gumbel noise (B, V): (B,) int64."""
        temperature, topk, nsigma = self._agreed or self.tensors
        scores = mask_logits(logits, temperature, topk, nsigma, self.largest_topk)
        return torch.argmax(torch.addcmul(scores, noise, self.loudness), -1)

    def pin(self) -> None:
        """Draws by tensors from now on, which `copy_from` fills: a graph reads them in place."""
        self._agreed = None

    def copy_from(self, other: DrawingRows) -> None:
        """Takes over another batch's parameters, none of which has a top-k above `largest_topk`."""
        assert other.largest_topk <= self.largest_topk
        self.loudness.copy_(other.loudness, non_blocking=True)
        for kept, fresh in zip(self.tensors, other.tensors, strict=True):
            kept.copy_(fresh, non_blocking=True)
