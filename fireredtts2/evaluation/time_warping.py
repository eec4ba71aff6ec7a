"""Dynamic time warping: the cheapest way through a matrix of costs, one step at a time."""

from __future__ import annotations

import numpy as np

DIAGONAL, DOWN, RIGHT = 0, 1, 2


def warp(costs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The cheapest path from the first corner to the last by steps of 1 down, right or both.

    Args:
        costs: (N, M), of bringing frame n of the one together with frame m of the other.

    Returns:
        Rows and columns (steps,) of the path, the first (0, 0), the last (N - 1, M - 1).

    Raises:
        ValueError: `costs` has no row or no column.
    """
    if costs.ndim != 2 or 0 in costs.shape:
        raise ValueError(f"expected costs (N, M) with N and M at least 1, got {costs.shape}")
    steps = _best_steps(costs)
    n, m = costs.shape[0] - 1, costs.shape[1] - 1
    path = [(n, m)]
    while n or m:
        step = steps[n, m]
        n, m = n - (step != RIGHT), m - (step != DOWN)
        path.append((n, m))
    rows, columns = np.array(path[::-1]).T
    return rows, columns


def _best_steps(costs: np.ndarray) -> np.ndarray:
    """By which step (N, M) each place is reached at the least cost.

    One anti-diagonal after another: its places do not depend on each other, so numpy takes them at
    once.
    """
    rows, columns = costs.shape
    total = np.full((rows + 1, columns + 1), np.inf)
    total[0, 0] = 0.0
    steps = np.zeros((rows, columns), dtype=np.int8)
    for diagonal in range(rows + columns - 1):
        n = np.arange(max(0, diagonal - columns + 1), min(rows, diagonal + 1))
        m = diagonal - n
        before = np.stack([total[n, m], total[n, m + 1], total[n + 1, m]])
        steps[n, m] = before.argmin(axis=0)
        total[n + 1, m + 1] = costs[n, m] + before.min(axis=0)
    return steps
