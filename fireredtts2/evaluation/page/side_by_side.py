"""The comparison's page: differences in a table, items side by side with both sounds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fireredtts2.evaluation.comparison import Comparison, Difference, FigurePair, Pair
from fireredtts2.evaluation.goals import Unit
from fireredtts2.evaluation.measures import measures_of
from fireredtts2.evaluation.page.render import render
from fireredtts2.evaluation.page.sections import Sound, row_sounds, row_values
from fireredtts2.evaluation.page.words import Word, marked_words
from fireredtts2.evaluation.report import Row, shown_count, shown_number
from fireredtts2.evaluation.saved_report import SavedReport

PAGE_ITEMS = 30
ABOUT_KEYS = ("model", "weights", "code", "seed", "spoken", "device", "machine")


@dataclass(frozen=True)
class Side:
    """An item as one of the two spoke it."""

    title: str
    heard: Sequence[Word]
    fault: str
    values: str
    sounds: Sequence[Sound]


@dataclass(frozen=True)
class Twin:
    """An item as both spoke it."""

    id: str
    part: str
    text: str
    sides: tuple[Side, Side]


def write_comparison_page(
    path: Path, comparison: Comparison, rules: tuple[str, str], num_items: int = PAGE_ITEMS
) -> None:
    """Writes `comparison.html`, one file that needs no other, what differs most first.

    Args:
        path: The file to write.
        comparison: What is shown.
        rules: How to read the differences, and the figures without items.
        num_items: How many items are shown with their sounds.
    """
    pairs = most_different(comparison.pairs)[:num_items]
    values = {
        "title": "Comparison",
        "reports": [_about("First", comparison.first), _about("Second", comparison.second)],
        "rule": rules[0],
        "figures_rule": rules[1],
        "cautions": comparison.cautions,
        "num_pairs": len(comparison.pairs),
        "missing": comparison.missing,
        "differences": [_shown(d) for d in comparison.differences],
        "figures": [_shown_figure(f) for f in comparison.figures],
        "twins": [_twin(pair, comparison) for pair in pairs],
    }
    render("comparison.html.j2", path, values)


def most_different(pairs: Sequence[Pair]) -> list[Pair]:
    """Pairs whose word errors differ most first, then those whose cosine does."""

    def distance(pair: Pair) -> tuple[float, float]:
        errors = [
            (row.get("word_errors") or 0) / (row.get("words") or 1)
            for row in (pair.first, pair.second)
        ]
        cosines = [row.get("similarity") or 0.0 for row in (pair.first, pair.second)]
        return -abs(errors[0] - errors[1]), -abs(cosines[0] - cosines[1])

    return sorted(pairs, key=distance)


def signed(value: float, unit: Unit) -> str:
    """A difference as people read it; that of two rates is in points."""
    sign = "+" if value > 0 else ""
    return sign + shown_number(value, "points" if unit == "%" else unit)


def _about(title: str, report: SavedReport) -> dict[str, object]:
    known = [(key, report.about[key]) for key in ABOUT_KEYS if key in report.about]
    return {"title": title, "about": [("folder", str(report.folder)), *known]}


def _shown(d: Difference) -> dict[str, object]:
    interval = ""
    if d.interval:
        interval = " to ".join(signed(bound, d.unit) for bound in d.interval)
    return {
        "part": d.part,
        "name": d.name,
        "first": shown_number(d.first, d.unit),
        "second": shown_number(d.second, d.unit),
        "difference": signed(d.difference, d.unit),
        "interval": interval,
        "outcome": d.outcome,
        "outcome_class": d.outcome if d.outcome in ("better", "worse") else "",
        "count": shown_count(d.count, d.groups),
    }


def _shown_figure(f: FigurePair) -> dict[str, str]:
    return {
        "part": f.part,
        "name": f.name,
        "first": shown_number(f.first, f.unit),
        "second": shown_number(f.second, f.unit),
        "difference": signed(f.second - f.first, f.unit),
    }


def _twin(pair: Pair, comparison: Comparison) -> Twin:
    sides = (
        _side("First", pair.part, pair.first, comparison.first.folder),
        _side("Second", pair.part, pair.second, comparison.second.folder),
    )
    return Twin(str(pair.first["id"]), pair.part, str(pair.first.get("text", "")), sides)


def _side(title: str, part: str, row: Row, folder: Path) -> Side:
    _, heard = marked_words(str(row.get("text", "")), str(row.get("heard", "")))
    fault = str(row.get("error") or "")
    return Side(title, heard, fault, row_values(row, measures_of(part)), row_sounds(row, folder))
