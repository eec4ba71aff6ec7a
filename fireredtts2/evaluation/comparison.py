"""Compares two reports: the same items, measure by measure, in paired bootstrap intervals."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from fireredtts2.evaluation.bootstrap import MIN_ITEMS, Interval, count_groups, paired_interval
from fireredtts2.evaluation.goals import Unit
from fireredtts2.evaluation.measures import Measure, measures_of
from fireredtts2.evaluation.report import Row
from fireredtts2.evaluation.saved_report import SavedReport

Outcome = Literal["better", "worse", "higher", "lower", "not distinguishable", "too few items"]
#: Measures that say more of the voice than of the model: compared within a voice only.
VOICE_MEASURES = ("similarity", "pitch", "pitch_range")
VOICE_FIELDS = ("voice", "speaker")


@dataclass(frozen=True)
class Difference:
    """One measure of the same items in two reports.

    Attributes:
        first: In `unit`, as `second`.
        difference: The second less the first.
        count: How many pairs.
        groups: How many of them are independent: the turns of one dialogue count as one.
        interval: 95 % interval of the difference, paired by item; None with too few items.
        outcome: What the second is, seen from the first.
    """

    part: str
    key: str
    name: str
    unit: Unit
    count: int
    groups: int
    first: float
    second: float
    difference: float
    interval: Interval | None
    outcome: Outcome


@dataclass(frozen=True)
class Pair:
    """The rows of one item in both reports."""

    part: str
    first: Row
    second: Row

    @property
    def group(self) -> str | None:
        """What it is drawn together with; a report from before groups were named has none."""
        group: str | None = self.first.get("group") or self.second.get("group")
        return group

    @property
    def has_one_voice(self) -> bool:
        """Whether both are in the same voice, as far as they name one."""
        sides = [(self.first.get(name), self.second.get(name)) for name in VOICE_FIELDS]
        return all(a == b for a, b in sides if a and b)

    @property
    def has_cosine(self) -> bool:
        """Whether the cosine to the voice was measured on both sides."""
        return None not in (self.first.get("similarity"), self.second.get("similarity"))


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
    cautions = _cautions(pairs, first, second)
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


def _cautions(pairs: Sequence[Pair], first: SavedReport, second: SavedReport) -> list[str]:
    """What makes each part hard to compare."""
    found: list[str] = []
    for part in dict.fromkeys(pair.part for pair in pairs):
        own = [pair for pair in pairs if pair.part == part]
        found += [
            _recogniser_caution(part, first, second),
            _prompt_caution(own, first.prompt_voices(part), second.prompt_voices(part)),
            _voice_caution(own),
        ]
    return [text for text in found if text]


def _recogniser_caution(part: str, first: SavedReport, second: SavedReport) -> str:
    """Says that a part was heard by others, "" where it was not."""
    a, b = first.recogniser(part), second.recogniser(part)
    if a == b:
        return ""
    heard = f"First: {a or 'unknown.'} Second: {b or 'unknown.'}"
    return f"{part} was not heard by the same recogniser. {heard}"


def _prompt_caution(pairs: Sequence[Pair], first: set[str], second: set[str]) -> str:
    """Says that voices were compared with recordings on one side only, "" where none was.

    Args:
        pairs: Those of one part.
        first: Voices that the first compared with their own prompts; `second` likewise.
    """
    spoken = {p.first.get("voice") for p in pairs if p.has_one_voice and p.has_cosine}
    names = sorted((first ^ second) & spoken)
    if not names:
        return ""
    return (
        f"{pairs[0].part}: the cosine was not measured against the same sounds. One report has "
        f"recordings of {', '.join(names)}, the other their decoded prompts, which flatters them."
    )


def _voice_caution(pairs: Sequence[Pair]) -> str:
    """Says how many pairs of a part are left out of the measures of the voice, "" for none."""
    left_out = sum(not pair.has_one_voice for pair in pairs)
    if not left_out:
        return ""
    return (
        f"{pairs[0].part}: {left_out} of {len(pairs)} pairs are in different voices; cosine and "
        "pitch are compared without them."
    )


def difference(measure: Measure, pairs: Sequence[Pair]) -> Difference | None:
    """One measure over the pairs in which both sides have it; None where there is none.

    Pairs in different voices do not count for `VOICE_MEASURES`.
    """
    both = [p for p in pairs if measure.is_in(p.first) and measure.is_in(p.second)]
    if measure.key in VOICE_MEASURES:
        both = [p for p in both if p.has_one_voice]
    if not both:
        return None
    first = measure.values([p.first for p in both])
    second = measure.values([p.second for p in both])
    a, b = (sum(above) / sum(below) for above, below in (first, second))
    groups = [p.group for p in both]
    num_groups, interval = count_groups(groups), None
    if num_groups >= MIN_ITEMS:
        interval = paired_interval(first, second, groups=groups)
    outcome = judge(measure, interval)
    return Difference(
        both[0].part, measure.key, measure.name, measure.unit, len(both), num_groups, a, b, b - a,
        interval, outcome,
    )  # fmt: skip


def judge(measure: Measure, interval: Interval | None) -> Outcome:
    """What an interval of the difference says: something only when it leaves 0 out."""
    if interval is None:
        return "too few items"
    low, high = interval
    if low <= 0 <= high:
        return "not distinguishable"
    way: Literal["higher", "lower"] = "higher" if low > 0 else "lower"
    if not measure.better:
        return way
    return "better" if way == measure.better else "worse"


def _name(row: Row) -> tuple[str, str]:
    return str(row["id"]), str(row.get("text", ""))
