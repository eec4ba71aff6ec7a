"""What a source yields: recordings of one or several turns, each with its text."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

#: What is looked for beside texts; what else FFmpeg reads can be named in a manifest.
_SUFFIXES = ".wav .flac .mp3 .ogg .oga .opus .m4a .aac .aif .aiff .au .w64 .webm .mp4"
AUDIO_SUFFIXES = frozenset(_SUFFIXES.split())


@dataclass(frozen=True)
class AudioPlace:
    """Where a turn's audio lies.

    Attributes:
        path: an audio file, or a table that holds audio files.
        start_s: where it begins in the file.
        end_s: where it ends; None is the end of the file.
        channel: of the file, from 0.
        row: of a table (Parquet or Arrow).
        column: of a table.
    """

    path: Path
    start_s: float = 0.0
    end_s: float | None = None
    channel: int = 0
    row: int | None = None
    column: str = ""


@dataclass(frozen=True)
class Turn:
    """Something said.

    Attributes:
        audio: where it can be heard.
        text: what is said.
        speaker: who speaks, the same name in all recordings.
    """

    audio: AudioPlace
    text: str
    speaker: str


@dataclass(frozen=True)
class Recording:
    """A clip (one turn), or a conversation in order.

    Attributes:
        id: of its own in the source.
        turns: at least one.
        language: ISO 639-1; "" where unknown.
        source: where it came from, for people.
    """

    id: str
    turns: tuple[Turn, ...]
    language: str = ""
    source: str = ""


class SourceError(ValueError):
    """A source that cannot be read as it is: says where, and what is wrong."""


def refuse_faults(path: Path, faults: list[str]) -> None:
    """Raises SourceError that shows the first of the faults found in a source."""
    if faults:
        shown, more = faults[:5], len(faults) - 5
        tail = f"; and {more} more" if more > 0 else ""
        raise SourceError(f"{path}: {'; '.join(shown)}{tail}")


def refuse_repeated_ids(recordings: Iterable[Recording]) -> None:
    """Raises SourceError where two recordings have one id."""
    seen: dict[str, str] = {}
    for recording in recordings:
        if recording.id in seen:
            places = f"{seen[recording.id]} and {recording.source}"
            raise SourceError(f"the id {recording.id!r} is there twice: {places}")
        seen[recording.id] = recording.source


def apart(recording: Recording) -> list[Recording]:
    """The turns of a conversation as clips."""
    if len(recording.turns) == 1:
        return [recording]
    return [
        Recording(f"{recording.id}#{number}", (turn,), recording.language, recording.source)
        for number, turn in enumerate(recording.turns)
    ]


def digest(recordings: Iterable[Recording], root: Path) -> str:
    """Tells one list of recordings from another: ids, texts, places, and sizes of the files.

    Args:
        recordings: in order.
        root: of the source; the same folder elsewhere has the same digest.
    """
    total, sizes = hashlib.sha256(), {}
    for recording in recordings:
        row: list[object] = [recording.id, recording.language]
        for turn in recording.turns:
            place = turn.audio
            if place.path not in sizes:
                sizes[place.path] = place.path.stat().st_size if place.path.is_file() else -1
            row += [turn.text, turn.speaker, _below(place.path, root), sizes[place.path]]
            row += [place.start_s, place.end_s, place.channel, place.row]
        total.update(json.dumps(row).encode())
    return total.hexdigest()[:16]


def _below(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
