from collections.abc import Callable

import numpy as np
import pytest

from fireredtts2.evaluation.bootstrap import (
    Groups,
    Interval,
    count_groups,
    mean_interval,
    paired_interval,
    pooled_interval,
)
from fireredtts2.evaluation.metrics import ErrorCount, bootstrap_interval


def test_the_interval_of_a_mean_is_that_of_the_normal_distribution() -> None:
    values = np.random.default_rng(1).normal(5.0, 2.0, 400)
    low, high = mean_interval(values.tolist(), resamples=4_000)
    half = 1.96 * values.std() / 20
    assert low == pytest.approx(values.mean() - half, abs=0.03)
    assert high == pytest.approx(values.mean() + half, abs=0.03)
    assert mean_interval([3.0] * 7) == (3.0, 3.0)


def test_a_pooled_rate_weighs_long_texts_more() -> None:
    low, high = pooled_interval([0, 9], [1, 9])
    assert (low, high) == (0.0, 1.0)
    counts = [ErrorCount(n % 3, 5 + n) for n in range(12)]
    errors, lengths = [c.errors for c in counts], [c.length for c in counts]
    assert pooled_interval(errors, lengths) == bootstrap_interval(counts)


def test_pairing_takes_out_what_both_sides_share() -> None:
    rng = np.random.default_rng(2)
    difficulty = rng.normal(0, 10, 100)
    ones = [1.0] * 100
    first, second = difficulty.tolist(), (difficulty + 1 + rng.normal(0, 0.5, 100)).tolist()
    low, high = paired_interval((first, ones), (second, ones))
    assert 0 < low < 1 < high < 1.3
    apart = mean_interval(second)[1] - mean_interval(first)[0]
    assert high - low < apart / 10
    # Turned round, the difference changes its sign.
    assert paired_interval((second, ones), (first, ones)) == pytest.approx((-high, -low))


# --- Groups --------------------------------------------------------------------------------------

NUM_GROUPS, GROUP_SIZE = 25, 10
NAMES = [f"dialogue_{n // GROUP_SIZE}" for n in range(NUM_GROUPS * GROUP_SIZE)]


def grouped(rng: np.random.Generator) -> np.ndarray:
    """Values around 1 whose group says most of them, as a turn that fails all after it."""
    shared = np.repeat(rng.normal(1.0, 1.0, NUM_GROUPS), GROUP_SIZE)
    return shared + rng.normal(0.0, 0.5, len(NAMES))


def of_mean(rng: np.random.Generator, groups: Groups | None) -> Interval:
    return mean_interval(grouped(rng).tolist(), 400, groups=groups)


def of_ratio(rng: np.random.Generator, groups: Groups | None) -> Interval:
    words = rng.integers(5, 15, len(NAMES)).astype(float)
    return pooled_interval((grouped(rng) * words).tolist(), words.tolist(), 400, groups=groups)


def of_difference(rng: np.random.Generator, groups: Groups | None) -> Interval:
    first = rng.normal(0, 5, len(NAMES))
    ones = [1.0] * len(first)
    second = (first + grouped(rng)).tolist()
    return paired_interval((first.tolist(), ones), (second, ones), 400, groups=groups)


@pytest.mark.parametrize("interval", [of_mean, of_ratio, of_difference])
def test_whole_groups_are_drawn_so_that_the_interval_holds_the_truth(
    interval: Callable[[np.random.Generator, Groups | None], Interval],
) -> None:
    def coverage(groups: Groups | None) -> float:
        rng = np.random.default_rng(0)
        found = [interval(rng, groups) for _ in range(300)]
        return float(np.mean([low <= 1.0 <= high for low, high in found]))

    assert coverage(None) < 0.65  # as if the turns of a dialogue were independent
    assert 0.85 < coverage(NAMES) < 0.98


def test_items_without_a_group_are_their_own() -> None:
    values = np.random.default_rng(3).normal(0, 1, 30).tolist()
    assert mean_interval(values, groups=[None] * 30) == mean_interval(values)
    assert count_groups(["a", None, "a", None, "b"]) == 4
    # One group alone says nothing of how much another would differ.
    low, high = mean_interval(values, groups=["a"] * 30)
    assert low == pytest.approx(high)
    with pytest.raises(ValueError, match="30 and 2"):
        mean_interval(values, groups=["a", "b"])


def test_what_cannot_be_drawn_from_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one item"):
        mean_interval([])
    with pytest.raises(ValueError, match="2 and 1"):
        paired_interval(([1, 2], [1, 1]), ([1], [1]))
