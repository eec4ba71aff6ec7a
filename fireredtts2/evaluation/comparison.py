"""Compares two reports: the same items, measure by measure, in paired bootstrap intervals."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from fireredtts2.evaluation.bootstrap import Interval, paired_interval
from fireredtts2.evaluation.goals import Unit
from fireredtts2.evaluation.measures import Measure, measures_of
from fireredtts2.evaluation.report import Row
from fireredtts2.evaluation.saved_report import SavedReport

Outcome = Literal["better", "worse", "higher", "lower", "not distinguishable", "too few items"]
MIN_ITEMS = 5  # with fewer pairs, resampling them says little


@dataclass(frozen=True)
class Difference:
    """One measure of the same items in two reports.

    Attributes:
        first: In `unit`, as `second`.
        difference: The second less the first.
        interval: 95 % interval of the difference, paired by item.
        outcome: What the second is, seen from the first.
    """

    part: str
    key: str
    name: str
    unit: Unit
    count: int
    first: float
    second: float
    difference: float
    interval: Interval
    outcome: Outcome


@dataclass(frozen=True)
class Pair:
    """The rows of one item in both reports."""

    part: str
    first: Row
    second: Row


@dataclass(frozen=True)
class FigurePair:
    """One figure of both reports that has no items behind it: no interval, no verdict."""

    key: str
    name: str
    unit: Unit
    first: float
    second: float

    @property
    def part(self) -> str:
        return self.key.rpartition(".")[0]

    def as_json(self) -> dict[str, Any]:
        return {**dataclasses.asdict(self), "difference": self.second - self.first}


@dataclass(frozen=True)
class Comparison:
    """Two reports side by side.

    Attributes:
        figures: Those of parts whose rows have no measures (runaways, speed).
        missing: How many items only one of the two has.
        cautions: What makes them hard to compare, in words.
    """

    first: SavedReport
    second: SavedReport
    differences: Sequence[Difference]
    figures: Sequence[FigurePair]
    pairs: Sequence[Pair]
    missing: int
    cautions: Sequence[str]

    def as_json(self) -> dict[str, Any]:
        return {
            "first": {"folder": str(self.first.folder), "about": self.first.about},
            "second": {"folder": str(self.second.folder), "about": self.second.about},
            "items": len(self.pairs),
            "missing": self.missing,
            "cautions": list(self.cautions),
            "differences": [dataclasses.asdict(d) for d in self.differences],
            "figures": [figures.as_json() for figures in self.figures],
        }


def compare(first: SavedReport, second: SavedReport) -> Comparison:
    """Compares what both reports measured: items of the same part, id and text.

    Raises:
        ValueError: They have no item and no figure in common.
    """
    pairs: list[Pair] = []
    differences: list[Difference] = []
    missing = 0
    for part in filter(measures_of, dict.fromkeys([*first.rows, *second.rows])):
        sides = first.rows.get(part, ()), second.rows.get(part, ())
        own = pair_rows(part, *sides)
        missing += sum(map(len, sides)) - 2 * len(own)
        pairs += own
        found = (difference(m, own) for m in measures_of(part))
        differences += [d for d in found if d is not None]
    figures = pair_figures(first.figures, second.figures)
    if not pairs and not figures:
        raise ValueError(
            f"{first.folder} and {second.folder} have no item in common; measure both with the "
            "same parts, sentences and seed"
        )
    parts = dict.fromkeys(pair.part for pair in pairs)
    cautions = [text for part in parts if (text := _caution(part, first, second))]
    return Comparison(first, second, differences, figures, pairs, missing, cautions)


def pair_rows(part: str, first: Sequence[Row], second: Sequence[Row]) -> list[Pair]:
    """The items that both have, by id and text, in the order of the first."""
    known = {_name(row): row for row in second}
    return [Pair(part, row, known[_name(row)]) for row in first if _name(row) in known]


def pair_figures(first: Sequence[Row], second: Sequence[Row]) -> list[FigurePair]:
    """The figures that both have, of parts that are not compared item by item."""
    known = {f["key"]: f["value"] for f in second if f["value"] is not None}
    return [
        FigurePair(f["key"], f["name"], f["unit"], f["value"], known[f["key"]])
        for f in first
        if f["value"] is not None
        and f["key"] in known
        and not measures_of(f["key"].rpartition(".")[0])
    ]


def _caution(part: str, first: SavedReport, second: SavedReport) -> str:
    """Says that a part was heard by others, "" where it was not."""
    a, b = first.recogniser(part), second.recogniser(part)
    if a == b:
        return ""
    heard = f"First: {a or 'unknown.'} Second: {b or 'unknown.'}"
    return f"{part} was not heard by the same recogniser. {heard}"


def difference(measure: Measure, pairs: Sequence[Pair]) -> Difference | None:
    """One measure over the pairs in which both sides have it; None where there is none."""
    both = [p for p in pairs if measure.is_in(p.first) and measure.is_in(p.second)]
    if not both:
        return None
    first = measure.values([p.first for p in both])
    second = measure.values([p.second for p in both])
    a, b = (sum(above) / sum(below) for above, below in (first, second))
    interval = paired_interval(first, second)
    outcome = judge(measure, interval, len(both))
    return Difference(
        both[0].part, measure.key, measure.name, measure.unit, len(both), a, b, b - a, interval,
        outcome,
    )  # fmt: skip


def judge(measure: Measure, interval: Interval, count: int) -> Outcome:
    """What an interval of the difference says: something only when it leaves 0 out."""
    low, high = interval
    if count < MIN_ITEMS:
        return "too few items"
    if low <= 0 <= high:
        return "not distinguishable"
    way: Literal["higher", "lower"] = "higher" if low > 0 else "lower"
    if not measure.better:
        return way
    return "better" if way == measure.better else "worse"


def _name(row: Row) -> tuple[str, str]:
    return str(row["id"]), str(row.get("text", ""))
