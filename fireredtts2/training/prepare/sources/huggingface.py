"""Folders of Hugging Face data sets: Parquet files, what `save_to_disk` writes, an audio folder."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fireredtts2.training.prepare.recordings import (
    AudioPlace,
    Recording,
    SourceError,
    Turn,
    refuse_faults,
)
from fireredtts2.training.prepare.sources import tables
from fireredtts2.training.prepare.sources.manifest import json_object, open_text, read_text, text

TABLES = (tables.PARQUET, tables.ARROW)
#: Columns under the names that data sets give them, the first that is there.
AUDIO = ("audio", "wav", "speech")
TEXT = ("text", "transcription", "transcript", "sentence", "normalized_text", "text_normalized")
SPEAKER = ("speaker", "speaker_id", "client_id", "spk_id", "voice")
LANGUAGE = ("language", "lang", "locale", "language_id")
ID = ("id", "segment_id", "utt_id", "key")
FILE_NAME = "file_name"
METADATA = ("metadata.csv", "metadata.jsonl")
CACHED = ("cache-", "tmp")  # what `datasets` leaves beside its files


def is_huggingface(root: Path) -> bool:
    """Whether there are tables in a folder, or metadata that names files."""
    if root.is_file():
        return root.suffix in TABLES
    return bool(_tables(root) or _metadata(root))


def read_huggingface(root: Path, speaker: str | None, language: str) -> Iterator[Recording]:
    """Clips in the order of the files and rows.

    Raises:
        SourceError: pyarrow is needed and missing, a column is missing, or names the lines of
            metadata that are not right.
    """
    found = [root] if root.is_file() else _tables(root)
    for path in found:
        yield from _from_table(path, root, speaker, language)
    for path in [] if found else _metadata(root):
        yield from _from_metadata(path, root, speaker, language)


def _from_table(path: Path, root: Path, speaker: str | None, language: str) -> Iterator[Recording]:
    names = tables.column_names(path)
    try:
        audio, said = _required(names, AUDIO, "audio"), _required(names, TEXT, "text")
    except ValueError as error:
        raise SourceError(f"{path}: {error}") from None
    others = [one for kind in (SPEAKER, LANGUAGE, ID) if (one := _first(names, kind))]
    shown = path.name if path == root else path.relative_to(root).as_posix()
    has_names = tables.holds_texts(path, audio)
    others += [audio] if has_names else []
    for number, row in enumerate(tables.read_columns(path, [said, *others])):
        beside = AudioPlace(path.parent / (row[audio] or "")) if has_names else None
        turn = Turn(
            beside or AudioPlace(path, row=number, column=audio),
            " ".join(str(row[said] or "").split()),
            speaker or _text(row, SPEAKER) or root.stem,
        )
        name = _text(row, ID) or f"{shown}:{number}"
        where = f"{shown} row {number}"
        yield Recording(name, (turn,), _text(row, LANGUAGE) or language, where)


def _from_metadata(
    path: Path, root: Path, speaker: str | None, language: str
) -> Iterator[Recording]:
    found: list[Recording] = []
    faults: list[str] = []
    rows = _csv_rows(path, faults) if path.suffix == ".csv" else _json_rows(path, faults)
    for line, row in rows:
        where = f"{path.relative_to(root).as_posix()} line {line}"
        try:
            found.append(_from_row(row, path, root, speaker, language, where))
        except ValueError as error:
            faults.append(f"line {line}: {error}")
    refuse_faults(path, faults)
    yield from found


def _from_row(
    row: Mapping[str, Any], path: Path, root: Path, speaker: str | None, language: str, where: str
) -> Recording:
    """A clip of metadata, or ValueError that says what is wrong with it."""
    said = _required(list(row), TEXT, "text")
    file_name = text(row, FILE_NAME, "")
    if not file_name:
        raise ValueError(f"no {FILE_NAME}")
    audio = path.parent / file_name
    name = audio.relative_to(root).as_posix() if audio.is_relative_to(root) else str(audio)
    who = speaker or _text(row, SPEAKER) or audio.parent.name
    turn = Turn(AudioPlace(audio), " ".join(text(row, said, "").split()), who)
    return Recording(name, (turn,), _text(row, LANGUAGE) or language, where)


def _json_rows(path: Path, faults: list[str]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Lines with their numbers; adds what is wrong to the faults."""
    for number, line in enumerate(open_text(path), 1):
        if not line.strip():
            continue
        try:
            yield number, json_object(line)
        except ValueError as error:
            faults.append(f"line {number}: {error}")


def _csv_rows(path: Path, faults: list[str]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Rows with the number of the line that each ends on; adds what is wrong to the faults."""
    reader = csv.reader(io.StringIO(read_text(path), newline=""))
    header: list[str] = []
    try:
        for values in reader:
            if not header:
                header = values
                continue
            # Spreadsheets write a comma too many, or none for cells that are empty.
            while len(values) > len(header) and not values[-1].strip():
                values.pop()
            if 0 < len(values) <= len(header):
                values += [""] * (len(header) - len(values))
                yield reader.line_num, dict(zip(header, values, strict=True))
            elif values:
                found = f"{len(values)} columns, the header has {len(header)}"
                faults.append(f"line {reader.line_num}: {found} (a text with commas needs quotes)")
    except csv.Error as error:
        faults.append(f"line {reader.line_num}: {error}")


def _tables(root: Path) -> list[Path]:
    found = [path for suffix in TABLES for path in root.rglob(f"*{suffix}")]
    return sorted(path for path in found if not path.name.startswith(CACHED))


def _metadata(root: Path) -> list[Path]:
    """Metadata that name files, of the folder and those below it."""
    found = []
    for path in sorted(path for name in METADATA for path in root.rglob(name)):
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            if FILE_NAME in next((line for line in file if line.strip()), ""):
                found.append(path)
    return found


def _first(names: list[str], wanted: tuple[str, ...]) -> str | None:
    return next((name for name in wanted if name in names), None)


def _required(names: list[str], wanted: tuple[str, ...], what: str) -> str:
    name = _first(names, wanted)
    if name is None:
        raise ValueError(
            f"no column of {what}; known are {', '.join(wanted)}; it has {', '.join(names)}"
        )
    return name


def _text(row: Mapping[str, Any], wanted: tuple[str, ...]) -> str:
    name = _first(list(row), wanted)
    value = None if name is None else row[name]
    return str(value) if isinstance(value, str | int) else ""
