"""Histograms, and how they are drawn."""

from __future__ import annotations

import math
from collections import Counter
from html import escape
from typing import Any

WIDTH, HEIGHT, MARGIN, TOP = 460, 160, 34, 10
MAX_BARS = 60


class Histogram:
    """Counts of a number, of what was kept and of what was refused.

    Args:
        title: what is counted.
        unit: of the number.
        step: width of a bin.
    """

    def __init__(self, title: str, unit: str, step: float) -> None:
        self._title, self._unit, self._step = title, unit, step
        self._kept: Counter[int] = Counter()
        self._refused: Counter[int] = Counter()

    def add(self, value: float | None, kept: bool) -> None:
        """Counts a value; None is none."""
        if value is not None:
            (self._kept if kept else self._refused)[math.floor(value / self._step)] += 1

    def values(self) -> dict[str, Any]:
        """Title, unit, width of a bin, where the first begins, and the counts of both kinds."""
        bins = self._kept.keys() | self._refused.keys()
        first, last = (min(bins), max(bins)) if bins else (0, -1)
        return {
            "title": self._title,
            "unit": self._unit,
            "step": self._step,
            "first": first * self._step,
            "kept": [self._kept[place] for place in range(first, last + 1)],
            "refused": [self._refused[place] for place in range(first, last + 1)],
        }


def drawn(values: dict[str, Any]) -> str:
    """A histogram, as `Histogram.values` has it, as SVG."""
    kept, refused, step = _fewer(values["kept"], values["refused"], values["step"])
    title = escape(values["title"])
    if not kept:
        return f"<figure><figcaption>{title}: nothing measured</figcaption></figure>"
    highest = max(k + r for k, r in zip(kept, refused, strict=True))
    width, scale = (WIDTH - 2 * MARGIN) / len(kept), (HEIGHT - MARGIN - TOP) / highest
    base = HEIGHT - MARGIN
    bars = []
    for place, (k, r) in enumerate(zip(kept, refused, strict=True)):
        x, begin = MARGIN + place * width, values["first"] + place * step
        label = f"{begin:g} to {begin + step:g} {values['unit']}: {k} kept, {r} refused"
        for kind, low, count in (("kept", 0, k), ("refused", k, r)):
            if count:
                y, height = base - (low + count) * scale, count * scale
                place_and_size = (
                    f'x="{x:.1f}" y="{y:.1f}" width="{max(width - 1, 0.5):.1f}" '
                    f'height="{height:.1f}"'
                )
                title_of_bar = f"<title>{escape(label)}</title>"
                bars.append(f'<rect class="{kind}" {place_and_size}>{title_of_bar}</rect>')
    last = values["first"] + len(kept) * step
    ticks = [(MARGIN, values["first"]), (WIDTH // 2, (values["first"] + last) / 2)]
    labels = "".join(
        f'<text x="{x}" y="{base + 16}" text-anchor="middle">{number:g}</text>'
        for x, number in [*ticks, (WIDTH - MARGIN, last)]
    )
    return (
        f"<figure><figcaption>{title} ({escape(values['unit'])})</figcaption>"
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{title}">{"".join(bars)}'
        f'<line x1="{MARGIN}" x2="{WIDTH - MARGIN}" y1="{base}" y2="{base}"/>{labels}'
        f'<text x="{MARGIN - 4}" y="{TOP + 10}" text-anchor="end">{highest}</text></svg></figure>'
    )


def _fewer(kept: list[int], refused: list[int], step: float) -> tuple[list[int], list[int], float]:
    """Bins joined until a bar can be seen."""
    joined = -(-len(kept) // MAX_BARS) or 1

    def sums(counts: list[int]) -> list[int]:
        return [sum(counts[begin : begin + joined]) for begin in range(0, len(counts), joined)]

    return sums(kept), sums(refused), step * joined
