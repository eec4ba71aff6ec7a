import numpy as np
import pytest

from fireredtts2.evaluation.bootstrap import mean_interval, paired_interval, pooled_interval
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


def test_what_cannot_be_drawn_from_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one item"):
        mean_interval([])
    with pytest.raises(ValueError, match="2 and 1"):
        paired_interval(([1, 2], [1, 1]), ([1], [1]))
