"""The report: figures beside their goals in Markdown, figures and every single row in JSON."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from fireredtts2.atomic_file import atomic_path
from fireredtts2.evaluation.bootstrap import MIN_ITEMS, Interval
from fireredtts2.evaluation.goals import GOALS, Goal, Unit

Verdict = Literal["pass", "fail", "too few", "not measured", ""]
Row = Mapping[str, Any]
WORST_ROWS = 10
HEARD_BY = "Heard by"  # begins the note that names the recogniser
#: Begins the note that names the voices whose cosine is to their prompts, not to recordings.
PROMPT_NOTE = (
    "Without recordings in the corpus, these voices were compared with their own decoded prompts, "
    "which flatters them: "
)
NO_INTERVAL = "too few items for an interval"
DECIMALS: dict[Unit, int] = {
    "%": 2, "points": 2, "MB": 0, "turns": 0, "words": 0, "log10": 4, "dB": 2, "st": 2,
    "words/s": 2, "PESQ": 2,
}  # fmt: skip
SHOWN_UNITS = ("%", "points", "s", "MB", "dB", "st", "words/s", "words")


@dataclass(frozen=True)
class Figure:
    """One measured number.

    Attributes:
        key: Name for machines, "part.measure"; its goal, where it has one, is `GOALS[key]`.
        value: In `unit`; None where it could not be measured (the note says why).
        count: How many items it was measured on.
        interval: 95 % interval, in `unit`; shown only where there are enough items for it.
        paper: What the FireRedTTS-2 paper reports, "" where it has no such figure.
        groups: How many of the items are independent, as the turns of one dialogue are not; None
            where all are.
    """

    key: str
    name: str
    value: float | None
    unit: Unit
    count: int
    note: str = ""
    interval: Interval | None = None
    paper: str = ""
    groups: int | None = None

    @property
    def goal(self) -> Goal | None:
        return GOALS.get(self.key)

    @property
    def verdict(self) -> Verdict:
        if self.goal is None:
            return ""
        if self.value is None:
            return "not measured"
        if not self.goal.is_met(self.value):
            return "fail"
        return "pass" if self.count >= self.goal.min_count else "too few"

    @property
    def shown_verdict(self) -> str:
        """The verdict in words."""
        if self.goal and self.verdict == "too few":
            return f"met, but measured on {self.count} of {self.goal.min_count}"
        return self.verdict

    @property
    def shown_interval(self) -> Interval | None:
        """The interval; None where it is over so few items that it would be too narrow."""
        return None if self.has_too_few else self.interval

    @property
    def has_too_few(self) -> bool:
        """Whether the figure has an interval that is over too few items."""
        items = self.count if self.groups is None else self.groups
        return self.interval is not None and items < MIN_ITEMS

    def as_json(self) -> dict[str, Any]:
        goal = dataclasses.asdict(self.goal) if self.goal else None
        shown = {"interval": self.shown_interval, "goal": goal, "verdict": self.verdict}
        return {**dataclasses.asdict(self), **shown}


@dataclass(frozen=True)
class Part:
    """One part of the evaluation: its figures, its rows, what the reader should know."""

    name: str
    figures: Sequence[Figure]
    rows: Sequence[Row]
    notes: Sequence[str] = field(default_factory=tuple)

    @property
    def is_measured(self) -> bool:
        """Whether it has figures, and does not only say why it has none."""
        return any(figure.value is not None for figure in self.figures)

    def save(self, path: Path, about: Row) -> None:
        """Writes the part with what was measured (`about`), whole or not at all."""
        values = {"about": about, **dataclasses.asdict(self)}
        write_whole(path, json.dumps(values, indent=1, ensure_ascii=False))

    @classmethod
    def load(cls, path: Path, about: Row) -> Part | None:
        """Reads a part; None where there is none, or it measured something else.

        So it is with a file of another version of this program.
        """
        if not path.is_file():
            return None
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            if values.pop("about") != about:
                return None
            figures = [
                Figure(**{**f, "interval": tuple(f["interval"]) if f["interval"] else None})
                for f in values.pop("figures")
            ]
            return cls(figures=figures, **values)
        except (ValueError, TypeError, KeyError, AttributeError):
            return None


def write_report(out: Path, about: Row, parts: Sequence[Part]) -> None:
    """Writes `report.md` and `report.json` into a folder."""
    values = {
        "about": about,
        "figures": [f.as_json() for part in parts for f in part.figures],
        "parts": {p.name: {"notes": list(p.notes), "rows": list(p.rows)} for p in parts},
    }
    write_whole(out / "report.json", json.dumps(values, indent=1, ensure_ascii=False) + "\n")
    write_whole(out / "report.md", markdown(about, parts))


def markdown(about: Row, parts: Sequence[Part]) -> str:
    """The report as a page for people."""
    lines = ["# Evaluation report", ""]
    lines += [f"- {key.replace('_', ' ')}: {value}" for key, value in about.items()]
    for part in parts:
        lines += [
            "",
            f"## {part_title(part.name)}",
            "",
            *_table(part.figures),
            *_paper(part.figures),
        ]
        lines += ["", *part.notes] if part.notes else []
        lines += _worst(part.rows)
    return "\n".join(lines) + "\n"


def part_title(name: str) -> str:
    """A part's name as a heading; the name of a set keeps its capitals."""
    return name[:1].upper() + name[1:]


def _table(figures: Sequence[Figure]) -> list[str]:
    head = ["| Measure | Value | Goal | Result | Measured on |", "|---|---|---|---|---|"]
    return head + [
        f"| {f.name} | {_value(f)} | {shown_goal(f)} | {f.shown_verdict} "
        f"| {shown_count(f.count, f.groups)}"
        f"{'; ' + _cell(f.note) if f.note else ''} |"
        for f in figures
    ]


def _paper(figures: Sequence[Figure]) -> list[str]:
    known = [f"{f.name} {f.paper}" for f in figures if f.paper]
    return (
        ["", f"The paper's, on other sets and by other judges: {'; '.join(known)}."]
        if known
        else []
    )


def _value(figure: Figure) -> str:
    if figure.value is None:
        return "-"
    text = shown_number(figure.value, figure.unit)
    if figure.has_too_few:
        return f"{text} ({NO_INTERVAL})"
    if figure.shown_interval:
        low, high = (shown_number(bound, figure.unit) for bound in figure.shown_interval)
        text += f" (95 %: {low} to {high})"
    return text


def shown_count(count: int, groups: int | None) -> str:
    """How many items, and in how many groups where these are fewer."""
    return f"{count}" if groups in (None, count) else f"{count} in {groups} groups"


def shown_number(value: float, unit: Unit) -> str:
    suffix = f" {unit}" if unit in SHOWN_UNITS else ""
    return f"{value:.{DECIMALS.get(unit, 3)}f}{suffix}"


def shown_goal(figure: Figure) -> str:
    """A figure's goal in words, "" where it has none."""
    goal = figure.goal
    return "" if goal is None else f"{goal.kind} {shown_number(goal.bound, figure.unit)}"


def _worst(rows: Sequence[Row]) -> list[str]:
    """The rows with most word errors, so that a reader sees what goes wrong."""
    wrong = sorted((r for r in rows if r.get("word_errors")), key=lambda r: -r["word_errors"])
    if not wrong:
        return []
    lines = ["", "Most word errors:", "", "| Item | Errors | Meant | Heard |", "|---|---|---|---|"]
    return lines + [
        f"| {r['id']} | {r['word_errors']} of {r['words']} | {_cell(r['text'])} "
        f"| {_cell(r['heard'] or r.get('error') or '-')} |"
        for r in wrong[:WORST_ROWS]
    ]


def _cell(text: str) -> str:
    return text.replace("|", "/").replace("\n", " ")


def write_whole(path: Path, text: str) -> None:
    """Writes a text file, its folder made first."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
