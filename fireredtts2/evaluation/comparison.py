"""Compares two reports: the same items, measure by measure, in paired bootstrap intervals."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from fireredtts2.evaluation.bootstrap import Interval, paired_interval
from fireredtts2.evaluation.goals import Unit
from fireredtts2.evaluation.measures import Measure, measures_of
from fireredtts2.evaluation.report import Row

Outcome = Literal["better", "worse", "higher", "lower", "not distinguishable", "too few items"]
MIN_ITEMS = 5  # with fewer pairs, resampling them says little
REPORT_NAME = "report.json"


@dataclass(frozen=True)
class SavedReport:
    """A report as it was written.

    Attributes:
        folder: Where it lies; audio paths of rows begin there.
        about: What was measured.
        rows: Part name -> its rows.
    """

    folder: Path
    about: Row
    rows: Mapping[str, Sequence[Row]]

    @classmethod
    def load(cls, folder: str | Path) -> SavedReport:
        """Reads `report.json` of a folder.

        Raises:
            ValueError: There is none, or it is none of this program's.
        """
        path = Path(folder) / REPORT_NAME
        if not path.is_file():
            raise ValueError(f"{folder}: no {REPORT_NAME} in this folder; it is not a report")
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            rows = {name: part["rows"] for name, part in values["parts"].items()}
            return cls(Path(folder), values["about"], rows)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path}: not a report of this program ({error})") from error


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
class Comparison:
    """Two reports side by side.

    Attributes:
        missing: How many items only one of the two has.
    """

    first: SavedReport
    second: SavedReport
    differences: Sequence[Difference]
    pairs: Sequence[Pair]
    missing: int

    def as_json(self) -> dict[str, Any]:
        return {
            "first": {"folder": str(self.first.folder), "about": self.first.about},
            "second": {"folder": str(self.second.folder), "about": self.second.about},
            "items": len(self.pairs),
            "missing": self.missing,
            "differences": [dataclasses.asdict(d) for d in self.differences],
        }


def compare(first: SavedReport, second: SavedReport) -> Comparison:
    """Compares what both reports measured: items of the same part, id and text.

    Raises:
        ValueError: They have no item in common.
    """
    pairs: list[Pair] = []
    differences: list[Difference] = []
    missing = 0
    for part in first.rows:
        own = pair_rows(part, first.rows[part], second.rows.get(part, ()))
        missing += len(first.rows[part]) + len(second.rows.get(part, ())) - 2 * len(own)
        if measures_of(part):
            pairs += own
            found = (difference(m, own) for m in measures_of(part))
            differences += [d for d in found if d is not None]
    missing += sum(len(rows) for part, rows in second.rows.items() if part not in first.rows)
    if not pairs:
        raise ValueError(
            f"{first.folder} and {second.folder} have no item in common; measure both with the "
            "same parts, sentences and seed"
        )
    return Comparison(first, second, differences, pairs, missing)


def pair_rows(part: str, first: Sequence[Row], second: Sequence[Row]) -> list[Pair]:
    """The items that both have, by id and text, in the order of the first."""
    known = {_name(row): row for row in second}
    return [Pair(part, row, known[_name(row)]) for row in first if _name(row) in known]


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
