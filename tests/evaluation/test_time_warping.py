import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fireredtts2.evaluation.time_warping import warp


def cheapest(costs: np.ndarray) -> float:
    """The least cost by the recurrence, place by place."""
    total = np.full(costs.shape, np.inf)
    for n, m in itertools.product(*map(range, costs.shape)):
        before = [total[n - a, m - b] for a, b in ((1, 1), (1, 0), (0, 1)) if n >= a and m >= b]
        total[n, m] = costs[n, m] + (min(before) if n or m else 0)
    return total[-1, -1]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(0, 10**6))
def test_the_path_is_whole_and_the_cheapest(rows: int, columns: int, seed: int) -> None:
    costs = np.random.default_rng(seed).integers(0, 9, (rows, columns)).astype(float)
    n, m = warp(costs)
    assert (n[0], m[0], n[-1], m[-1]) == (0, 0, rows - 1, columns - 1)
    steps = np.stack([np.diff(n), np.diff(m)])
    assert ((steps >= 0) & (steps <= 1)).all()
    assert (steps.sum(axis=0) >= 1).all()
    assert costs[n, m].sum() == cheapest(costs)


def test_a_diagonal_of_zeros_is_followed() -> None:
    n, m = warp(1.0 - np.eye(5))
    assert n.tolist() == m.tolist() == [0, 1, 2, 3, 4]


def test_an_empty_matrix_is_refused() -> None:
    with pytest.raises(ValueError, match=r"\(0, 3\)"):
        warp(np.zeros((0, 3)))
