"""What a source yields: recordings of one or several turns, each with its text."""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from fireredtts2.training.prepare.writing import language_code

#: What is looked for beside texts; what else FFmpeg reads can be named in a manifest.
_SUFFIXES = ".wav .flac .mp3 .ogg .oga .opus .m4a .aac .aif .aiff .au .w64 .webm .mp4"
AUDIO_SUFFIXES = frozenset(_SUFFIXES.split())
#: Read of a file at its beginning, in the middle and at its end to tell it from another.
PART_BYTES = 65_536
#: What digests begin with; those before it knew files by their sizes alone.
DIGEST_KIND = "parts-"
#: Set by whoever prepared the texts for another program; here speakers have names of their own.
LEADING_TAG = re.compile(r"\s*\[S\d+\]\s*")
SURROGATE = re.compile("[\ud800-\udfff]")


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
        missing: why there is no text, for people; "" where there is one.
    """

    audio: AudioPlace
    text: str
    speaker: str
    missing: str = ""


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
        raise SourceError(f"{path}: {_shown(faults)}")


def _shown(faults: list[str]) -> str:
    shown, more = faults[:5], len(faults) - 5
    return "; ".join(shown) + (f"; and {more} more" if more > 0 else "")


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


def in_plain_form(recording: Recording) -> Recording:
    """The recording with its language's code, and no speaker tag before a text."""
    turns = (replace(turn, text=_without_tag(turn.text)) for turn in recording.turns)
    return replace(recording, turns=tuple(turns), language=language_code(recording.language))


def _without_tag(text: str) -> str:
    tag = LEADING_TAG.match(text)
    return text if tag is None else text[tag.end() :]


def refuse_odd_names(recordings: Iterable[Recording]) -> None:
    """Raises SourceError where a name or text is not Unicode, so that no report could hold it.

    A file's name may be any bytes; those that are not UTF-8 come as surrogates (`os.fsdecode`), and
    JSON can write surrogates too.
    """
    found = [
        f"{name!r} (in {recording.source!r})"
        for recording in recordings
        if (name := next(filter(SURROGATE.search, _names(recording)), None)) is not None
    ]
    if found:
        raise SourceError(f"names of files and texts must be UTF-8; not so: {_shown(found)}")


def _names(recording: Recording) -> Iterator[str]:
    """All that is written down of a recording."""
    yield from (recording.id, recording.language, recording.source)
    for turn in recording.turns:
        yield from (turn.audio.path.name, turn.speaker, turn.text)


def digest(recordings: Iterable[Recording], root: Path) -> str:
    """Tells one list of recordings from another: ids, texts, places, and the files.

    Of a file its size counts, and what is in it at the beginning, in the middle and at the end.

    Args:
        recordings: in order.
        root: of the source; the same folder elsewhere has the same digest.

    Returns:
        Begins with `DIGEST_KIND`.
    """
    total, files = hashlib.sha256(), dict[Path, str]()
    for recording in recordings:
        row: list[object] = [recording.id, recording.language]
        for turn in recording.turns:
            place = turn.audio
            if place.path not in files:
                files[place.path] = _file_digest(place.path)
            row += [turn.text, turn.speaker, _below(place.path, root), files[place.path]]
            row += [place.start_s, place.end_s, place.channel, place.row]
        total.update(json.dumps(row).encode())
    return DIGEST_KIND + total.hexdigest()[:16]


def _file_digest(path: Path) -> str:
    """Of a file's size and three parts; "" of one that is not there or cannot be read."""
    try:
        if not path.is_file():  # a pipe would never end
            return ""
        with path.open("rb") as file:
            size = file.seek(0, io.SEEK_END)
            total = hashlib.sha256(str(size).encode())
            # NOTE: parts, so that a large set costs little.
            whole = size <= 3 * PART_BYTES
            for begin in (0,) if whole else (0, (size - PART_BYTES) // 2, size - PART_BYTES):
                file.seek(begin)
                total.update(file.read(size if whole else PART_BYTES))
            return total.hexdigest()
    except (OSError, ValueError):  # ValueError: a name that no file can have
        return ""


def _below(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
