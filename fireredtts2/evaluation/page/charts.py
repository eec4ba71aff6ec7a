"""Distributions as small SVG charts that follow the page's colours."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

import numpy as np
from markupsafe import Markup

WIDTH, HEIGHT = 260, 110
BASE = 84  # where the bars stand
LEFT, RIGHT = 8, WIDTH - 8
MAX_BINS = 24

FRAME = Markup(
    '<svg class="chart" viewBox="0 0 {w} {h}" role="img" aria-label="{label}">{body}</svg>'
)
BAR = Markup(
    '<rect class="bar" x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}">{t}</rect>'
)
TITLE = Markup("<title>{}</title>")
AXIS = Markup('<line class="axis" x1="{x1}" x2="{x2}" y1="{y}" y2="{y}"/>')
MARK = Markup('<line class="mark" x1="{x:.1f}" x2="{x:.1f}" y1="10" y2="{y}">{t}</line>')
TEXT = Markup('<text x="{x:.1f}" y="{y}" text-anchor="{anchor}">{text}</text>')


def histogram(name: str, values: Sequence[float], unit: str = "") -> Markup:
    """A histogram with its ends, its median as a line, and counts as tooltips.

    Args:
        name: What is shown; for readers who cannot see it, and escaped.
        values: At least one; values that are not finite are left out.
        unit: Shown after the numbers.

    Raises:
        ValueError: No finite value.
    """
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        raise ValueError(f"{name}: no finite value to show")
    counts, edges = _bins(finite)
    low, high, middle = float(edges[0]), float(edges[-1]), median(finite)

    def place(value: float) -> float:
        return LEFT + (value - low) / (high - low) * (RIGHT - LEFT)

    bars = [
        _bar(place(a), place(b), int(n), max(counts), f"{_short(a)} to {_short(b)}: {n}")
        for a, b, n in zip(edges[:-1], edges[1:], counts, strict=True)
        if n
    ]
    shown = f"{_short(middle)}{' ' + unit if unit else ''}"
    body = Markup("").join(
        [
            *bars,
            AXIS.format(x1=LEFT, x2=RIGHT, y=BASE),
            MARK.format(x=place(middle), y=BASE, t=TITLE.format(f"median {shown}")),
            TEXT.format(x=LEFT, y=BASE + 18, anchor="start", text=_short(low)),
            TEXT.format(x=RIGHT, y=BASE + 18, anchor="end", text=_short(high)),
            TEXT.format(x=WIDTH / 2, y=BASE + 18, anchor="middle", text=f"median {shown}"),
        ]
    )
    label = f"{name}: {len(finite)} values, median {shown}"
    return FRAME.format(w=WIDTH, h=HEIGHT, label=label, body=body)


def _bins(values: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Counts and edges; equal values get a bin of their own around them."""
    count = min(MAX_BINS, max(5, round(2 * math.sqrt(len(values)))))
    low, high = min(values), max(values)
    if high - low < 1e-9 * max(1.0, abs(high)):
        low, high = low - 0.5, high + 0.5
    counts, edges = np.histogram(values, bins=count, range=(low, high))
    return counts, edges


def _bar(left: float, right: float, count: int, most: int, title: str) -> Markup:
    height = count / most * (BASE - 14)
    return BAR.format(
        x=left + 0.5, y=BASE - height, w=max(1.0, right - left - 1), h=height, t=TITLE.format(title)
    )


def _short(value: float) -> str:
    return f"{value:.3g}"
