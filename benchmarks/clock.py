"""Timing on a machine that others use too: variants take turns, and ratios are made in pairs."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import torch

LOW_PERCENT, HIGH_PERCENT = 10, 90


def now(device: torch.device) -> float:
    """Seconds, once the device has done what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
    return time.perf_counter()


def timed(work: Callable[[], object], device: torch.device) -> float:
    """Seconds that some work takes."""
    begin = now(device)
    work()
    return now(device) - begin


def interleaved(cases: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Every case once a round, so that what disturbs one disturbs all; nobody always goes first.

    Args:
        cases: measure one sample each, in any unit. They warm up by themselves.
        rounds: samples of each.
    """
    samples: dict[str, list[float]] = {name: [] for name in cases}
    names = list(cases)
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            samples[name].append(cases[name]())
    return samples


def ratio(these: Sequence[float], those: Sequence[float]) -> float:
    """The median over the rounds of this sample by that one."""
    return median(this / that for this, that in zip(these, those, strict=True))


def percentile(samples: Sequence[float], percent: float) -> float:
    """The smallest sample that so many per cent do not exceed."""
    ordered = sorted(samples)
    return ordered[max(0, math.ceil(len(ordered) * percent / 100) - 1)]


@dataclass(frozen=True)
class Spread:
    """The median of some samples, and between what eight of ten lie."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, samples: Sequence[float], scale: float = 1.0) -> Spread:
        """Of samples times a scale."""
        low, high = percentile(samples, LOW_PERCENT), percentile(samples, HIGH_PERCENT)
        return cls(median(samples) * scale, low * scale, high * scale)

    def named(self, name: str) -> dict[str, float]:
        """As fields of a report's row."""
        return {name: self.median, f"{name}_low": self.low, f"{name}_high": self.high}
