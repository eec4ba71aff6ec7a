"""A line chart as SVG, written by hand: no library is needed for two plots."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

Scale = Callable[[float], float]

WIDTH, HEIGHT = 680, 360
LEFT, RIGHT, TOP, BOTTOM = 64, 160, 44, 48
COLOURS = ("#4477aa", "#ee6677", "#228833", "#ccbb44", "#66ccee", "#aa3377")
#: Light or dark: what is drawn on the page takes a grey that both can carry.
INK, GRID = "#767676", "#76767640"
INSET = 12  # of the first and the last point
NUM_TICKS = 5
MAX_MARKS = 10
NICE = (1.0, 2.0, 5.0)
NEXT = 1.5  # more than a nice number, and no more than the one after it


@dataclass(frozen=True)
class Series:
    """A line: points (x, y) in order, above 0 where the axes are logarithmic."""

    name: str
    points: Sequence[tuple[float, float]]
    is_dashed: bool = False


@dataclass(frozen=True)
class Chart:
    """What is drawn.

    Attributes:
        title: above it.
        x_label: below it, with the unit.
        y_label: at its side, with the unit.
        series: the lines; there must be a point.
        is_log: on both axes every doubling takes as much room; all numbers must be above 0.
    """

    title: str
    x_label: str
    y_label: str
    series: Sequence[Series]
    is_log: bool = False

    def svg(self) -> str:
        """The picture as text."""
        xs = [x for line in self.series for x, _ in line.points]
        ys = [y for line in self.series for _, y in line.points]
        low, high = (nice_floor(min(ys)) if self.is_log else 0.0), nice_ceiling(max(ys))
        across = self._scale(min(xs), max(xs), LEFT + INSET, WIDTH - RIGHT - INSET)
        down = self._scale(low, high, HEIGHT - BOTTOM, TOP)
        marks = _some(sorted(set(xs)))
        y_ticks = _nice_between(low, high) if self.is_log else _steps(low, high)
        parts = [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
            'font-family="sans-serif" font-size="12">',
            _text(LEFT, 20, self.title, size=14),
            _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, self.x_label, anchor="middle"),
            _text(LEFT, TOP - 6, self.y_label),
            *(_grid(down(y), _number(y)) for y in y_ticks),
            *(_text(across(x), HEIGHT - BOTTOM + 18, _number(x), anchor="middle") for x in marks),
        ]
        for number, line in enumerate(self.series):
            parts += self._line(line, COLOURS[number % len(COLOURS)], number, across, down)
        return "\n".join([*parts, "</svg>\n"])

    def _scale(self, low: float, high: float, begin: float, end: float) -> Scale:
        if not self.is_log:
            return _linear(low, high, begin, end)
        place = _linear(math.log(low), math.log(high), begin, end)
        return lambda value: place(math.log(value))

    @staticmethod
    def _line(line: Series, colour: str, number: int, across: Scale, down: Scale) -> list[str]:
        points = " ".join(f"{across(x):.1f},{down(y):.1f}" for x, y in line.points)
        dashes = ' stroke-dasharray="5 4"' if line.is_dashed else ""
        y = TOP + 16 + 20 * number
        x = WIDTH - RIGHT + 14
        dots = [
            f'<circle cx="{across(px):.1f}" cy="{down(py):.1f}" r="2.5" fill="{colour}"/>'
            for px, py in line.points
        ]
        stroke = f'fill="none" stroke="{colour}" stroke-width="2"{dashes}'
        return [
            f'<polyline points="{points}" {stroke}/>',
            *([] if line.is_dashed else dots),
            f'<polyline points="{x},{y - 4} {x + 20},{y - 4}" {stroke}/>',
            _text(x + 26, y, line.name),
        ]


def nice_ceiling(value: float) -> float:
    """The next of 1, 2, 5 times a power of ten."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (*NICE, 10.0) if value <= step * power)


def nice_floor(value: float) -> float:
    """The one before it; of a number above 0."""
    power = 10.0 ** math.floor(math.log10(value))
    return max(step * power for step in NICE if step * power <= value)


def _nice_between(low: float, high: float) -> list[float]:
    ticks = [low]
    while ticks[-1] < high:
        ticks.append(nice_ceiling(ticks[-1] * NEXT))
    return ticks


def _linear(low: float, high: float, begin: float, end: float) -> Scale:
    span = high - low or 1.0
    return lambda value: begin + (value - low) / span * (end - begin)


def _steps(low: float, high: float) -> list[float]:
    return [low + (high - low) * n / NUM_TICKS for n in range(NUM_TICKS + 1)]


def _some(values: Sequence[float]) -> list[float]:
    """At most so many of them, evenly."""
    return list(values[:: -(-len(values) // MAX_MARKS)])


def _number(value: float) -> str:
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def _grid(y: float, label: str) -> str:
    line = f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="{GRID}"/>'
    return line + _text(LEFT - 8, y + 4, label, anchor="end")


def _text(x: float, y: float, text: str, anchor: str = "start", size: int = 12) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{INK}">'
        f"{escape(text)}</text>"
    )
