"""Bootstrap intervals: of a mean, of a pooled error rate, and of a paired difference of either."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

RESAMPLES = 1_000
PERCENTILES = (2.5, 97.5)

Interval = tuple[float, float]


def pooled_interval(
    numerators: Sequence[float],
    denominators: Sequence[float],
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """95 % interval of sum(numerators) / sum(denominators), items drawn with replacement.

    Args:
        numerators: One value an item, as the errors of a text; a mean's values.
        denominators: One value an item, as the words of a text; ones for a mean.

    Returns:
        (low, high), the 2.5th and 97.5th percentile of the resampled ratios.

    Raises:
        ValueError: No items.
    """
    return _percentiles(_ratios(numerators, denominators, resamples, seed))


def mean_interval(values: Sequence[float], resamples: int = RESAMPLES, seed: int = 0) -> Interval:
    """95 % interval of a mean; see `pooled_interval`."""
    return pooled_interval(values, np.ones(len(values)).tolist(), resamples, seed)


def paired_interval(
    first: tuple[Sequence[float], Sequence[float]],
    second: tuple[Sequence[float], Sequence[float]],
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """95 % interval of the second ratio less the first, the same items drawn for both.

    Drawing items in pairs takes out what both sides share: that some items are harder than others.

    Args:
        first: Numerators and denominators, one an item.
        second: The same of the other side, items in the same order.

    Raises:
        ValueError: No items, or not as many on both sides.
    """
    if len(first[0]) != len(second[0]):
        raise ValueError(
            f"pairs need as many items on both sides; got {len(first[0])} and {len(second[0])}"
        )
    differences = _ratios(*second, resamples, seed) - _ratios(*first, resamples, seed)
    return _percentiles(differences)


def _ratios(
    numerators: Sequence[float], denominators: Sequence[float], resamples: int, seed: int
) -> np.ndarray:
    """The ratio (resamples,) of every resample; the same seed draws the same items."""
    count = len(numerators)
    if not count:
        raise ValueError("an interval needs at least one item")
    above = np.asarray(numerators, dtype=np.float64)
    below = np.asarray(denominators, dtype=np.float64)
    draws = np.random.default_rng(seed).integers(0, count, size=(resamples, count))
    ratios: np.ndarray = above[draws].sum(axis=1) / below[draws].sum(axis=1)
    return ratios


def _percentiles(values: np.ndarray) -> Interval:
    low, high = np.percentile(values, PERCENTILES)
    return float(low), float(high)
