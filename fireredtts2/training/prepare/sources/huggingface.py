"""Folders of Hugging Face data sets: Parquet files, what `save_to_disk` writes, an audio folder."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from fireredtts2.training.prepare.recordings import AudioPlace, Recording, SourceError, Turn
from fireredtts2.training.prepare.sources import tables

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
        SourceError: pyarrow is needed and missing, or a column is missing.
    """
    found = [root] if root.is_file() else _tables(root)
    for path in found:
        yield from _from_table(path, root, speaker, language)
    for path in [] if found else _metadata(root):
        yield from _from_metadata(path, root, speaker, language)


def _from_table(path: Path, root: Path, speaker: str | None, language: str) -> Iterator[Recording]:
    names = tables.column_names(path)
    audio, said = _required(path, names, AUDIO, "audio"), _required(path, names, TEXT, "text")
    others = [one for kind in (SPEAKER, LANGUAGE, ID) if (one := _first(names, kind))]
    shown = path.name if path == root else path.relative_to(root).as_posix()
    for number, row in enumerate(tables.read_columns(path, [said, *others])):
        turn = Turn(
            AudioPlace(path, row=number, column=audio),
            " ".join(str(row[said] or "").split()),
            speaker or _text(row, SPEAKER) or root.stem,
        )
        name = _text(row, ID) or f"{shown}:{number}"
        where = f"{shown} row {number}"
        yield Recording(name, (turn,), _text(row, LANGUAGE) or language, where)


def _from_metadata(
    path: Path, root: Path, speaker: str | None, language: str
) -> Iterator[Recording]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        rows: Iterable[dict[str, Any]] = (
            csv.DictReader(file) if path.suffix == ".csv" else map(json.loads, file)
        )
        for number, row in enumerate(rows, 1):
            said = _required(path, list(row), TEXT, "text")
            audio = path.parent / row[FILE_NAME]
            name = audio.relative_to(root).as_posix() if audio.is_relative_to(root) else str(audio)
            turn = Turn(
                AudioPlace(audio),
                " ".join(str(row[said] or "").split()),
                speaker or _text(row, SPEAKER) or audio.parent.name,
            )
            where = f"{path.relative_to(root).as_posix()} row {number}"
            yield Recording(name, (turn,), _text(row, LANGUAGE) or language, where)


def _tables(root: Path) -> list[Path]:
    found = [path for suffix in TABLES for path in root.rglob(f"*{suffix}")]
    return sorted(path for path in found if not path.name.startswith(CACHED))


def _metadata(root: Path) -> list[Path]:
    """Metadata that name files, of the folder and those below it."""
    found = []
    for path in sorted(path for name in METADATA for path in root.rglob(name)):
        with path.open(encoding="utf-8-sig", errors="replace") as file:
            if FILE_NAME in file.readline():
                found.append(path)
    return found


def _first(names: list[str], wanted: tuple[str, ...]) -> str | None:
    return next((name for name in wanted if name in names), None)


def _required(path: Path, names: list[str], wanted: tuple[str, ...], what: str) -> str:
    name = _first(names, wanted)
    if name is None:
        raise SourceError(
            f"{path}: no column of {what}; known are {', '.join(wanted)}; it has {', '.join(names)}"
        )
    return name


def _text(row: Mapping[str, Any], wanted: tuple[str, ...]) -> str:
    name = _first(list(row), wanted)
    value = None if name is None else row[name]
    return str(value) if isinstance(value, str | int) else ""
