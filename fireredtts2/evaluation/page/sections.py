"""What the page shows of a part: its charts, its items with the worst first, what is in each."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from markupsafe import Markup

from fireredtts2.evaluation.measures import Measure, measures_of
from fireredtts2.evaluation.page.charts import histogram
from fireredtts2.evaluation.page.media import mp3_url, read_sound, spectrogram_url
from fireredtts2.evaluation.page.words import Word, marked_words
from fireredtts2.evaluation.report import SHOWN_UNITS, Part, Row, part_title, shown_number

#: Fields of a row that name its sounds -> how the page calls them, in the order shown.
SOUND_FIELDS = {
    "audio_prompt": "prompt",
    "audio_original": "original",
    "audio_reference": "recording",
    "audio": "spoken",
}
CODEC_SOUND = "decoded"
MIN_CHART_VALUES = 5
WORST_MEASURES = 3


@dataclass(frozen=True)
class Sound:
    """A player and its picture; `url` and `picture` are data URLs."""

    label: str
    url: str
    picture: str


@dataclass(frozen=True)
class Card:
    """An item in full."""

    id: str
    voice: str
    fault: str
    meant: Sequence[Word]
    heard: Sequence[Word]
    values: str
    sounds: Sequence[Sound]
    data: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Line:
    """An item without its sounds."""

    id: str
    meant: Sequence[Word]
    heard: Sequence[Word]
    values: str
    link: str


@dataclass(frozen=True)
class Note:
    """A paragraph, or a table of cells, its head first."""

    text: str = ""
    table: list[list[str]] = field(default_factory=list)


@dataclass(frozen=True)
class Section:
    """A part as the template takes it."""

    anchor: str
    title: str
    notes: Sequence[Note]
    charts: Sequence[Mapping[str, Any]]
    cards: Sequence[Card]
    rest: Sequence[Line]
    sorts: Sequence[Mapping[str, str]] = field(default_factory=tuple)


def make_section(part: Part, folder: Path, num_items: int) -> Section:
    """Shows a part; sounds are looked for in `folder`, and `num_items` items are shown in full."""
    measures = [m for m in measures_of(part.name) if any(m.is_in(row) for row in part.rows)]
    rows = worst_first(part)
    if not measures and part.name != "runaways":
        rows = []  # those of speed have nothing to hear or to read
    return Section(
        anchor=re.sub(r"\W+", "-", part.name),
        title=part_title(part.name),
        notes=note_blocks(part.notes),
        charts=_charts(measures, part.rows),
        cards=[_card(row, measures, folder) for row in rows[:num_items]],
        rest=[_line(row, measures, folder) for row in rows[num_items:]],
        sorts=_sorts(measures),
    )


def worst_first(part: Part) -> list[Row]:
    """Rows with most wrong words first, then the lowest cosine, then the lowest DNSMOS."""

    def badness(row: Row) -> tuple[float, float, float]:
        rate = (row.get("word_errors") or 0) / (row.get("words") or 1)
        return (-rate, _or_zero(row.get("similarity")), _or_zero(row.get("dnsmos")))

    return sorted(part.rows, key=badness)


def note_blocks(notes: Sequence[str]) -> list[Note]:
    """Notes in Markdown as paragraphs and tables of cells."""
    blocks: list[Note] = []
    for note in notes:
        if note.startswith("|"):
            cells = [cell.strip() for cell in note.strip("|").split("|")]
            if all(cell and set(cell) <= set("-:") for cell in cells):
                continue  # the line under a table's head
            if not blocks or not blocks[-1].table:
                blocks.append(Note())
            blocks[-1].table.append(cells)
        elif note:
            blocks.append(Note(note))
    return blocks


def row_values(row: Row, measures: Sequence[Measure]) -> str:
    """All figures of a row in one line."""
    shown = [(m, m.of_row(row)) for m in measures]
    parts = [f"{m.name} {shown_number(v, m.unit)}" for m, v in shown if v is not None]
    if row.get("seconds") is not None:
        parts.append(f"{row['seconds']:.2f} s long")
    return " · ".join(parts)


def row_sounds(row: Row, folder: Path) -> list[Sound]:
    """The sounds of a row that are there; `folder` is where relative paths begin."""
    sounds = []
    for name, label in SOUND_FIELDS.items():
        audio = read_sound(folder / row[name]) if row.get(name) else None
        if audio is not None:
            is_decoded = name == "audio" and "audio_original" in row
            shown = CODEC_SOUND if is_decoded else label
            sounds.append(Sound(shown, mp3_url(audio), spectrogram_url(audio)))
    return sounds


def _charts(measures: Sequence[Measure], rows: Sequence[Row]) -> list[dict[str, Markup | str]]:
    charts: list[dict[str, Markup | str]] = []
    for measure in measures:
        values = [value for row in rows if (value := measure.of_row(row)) is not None]
        if len(values) >= MIN_CHART_VALUES:
            unit = measure.unit if measure.unit in SHOWN_UNITS else ""
            charts.append({"name": measure.name, "svg": histogram(measure.name, values, unit)})
    return charts


def _card(row: Row, measures: Sequence[Measure], folder: Path) -> Card:
    meant, heard = marked_words(str(row.get("text", "")), str(row.get("heard", "")))
    numbers = [(m.key, m.of_row(row)) for m in measures]
    return Card(
        id=str(row["id"]),
        voice=str(row.get("voice") or row.get("speaker") or ""),
        fault=str(row.get("error") or row.get("fault") or ""),
        meant=meant,
        heard=heard,
        values=row_values(row, measures),
        sounds=row_sounds(row, folder),
        data=[(key.replace("_", "-"), "" if v is None else f"{v:.6g}") for key, v in numbers],
    )


def _line(row: Row, measures: Sequence[Measure], folder: Path) -> Line:
    meant, heard = marked_words(str(row.get("text", "")), str(row.get("heard", "")))
    audio = row.get("audio")
    link = str(audio) if audio and not Path(audio).is_absolute() else ""
    return Line(str(row["id"]), meant, heard, row_values(row, measures), link)


def _sorts(measures: Sequence[Measure]) -> list[dict[str, str]]:
    """What the items can be sorted by; the worst end first, where there is one."""
    sorts = []
    for measure in sorted(measures, key=lambda m: m.key != "wer"):  # as the page has them at first
        way = "up" if measure.better == "higher" else "down"
        # JavaScript's dataset has the name in camel case.
        key = re.sub(r"_(\w)", lambda match: match[1].upper(), measure.key)
        sorts.append({"value": f"{key} {way}", "name": measure.name})
    return sorts


def _or_zero(value: Any) -> float:
    return 0.0 if value is None else float(value)
