"""A manifest: JSON lines, each a clip or a conversation."""

from __future__ import annotations

import codecs
import gzip
import io
import json
import math
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from fireredtts2.training.prepare.recordings import (
    AudioPlace,
    Recording,
    SourceError,
    Turn,
    refuse_faults,
)

SUFFIXES = (".jsonl", ".ndjson", ".jsonl.gz")
CLIP_KEYS = {"audio", "text", "speaker", "language", "start", "end", "id", "channel"}
TALK_KEYS = {"turns", "audio", "language", "id"}
TURN_KEYS = {"audio", "text", "speaker", "start", "end", "channel"}


def is_manifest(path: Path) -> bool:
    """Whether a path has a manifest's name."""
    return path.is_file() and path.name.endswith(SUFFIXES)


def read_text(path: Path) -> str:
    """A UTF-8 file, packed with gzip or not, with the ends of its lines as they are.

    Raises:
        SourceError: it is not UTF-8, names the line; or it is packed and damaged or cut.
    """
    try:
        data = path.read_bytes()
        data = gzip.decompress(data) if path.suffix == ".gz" else data
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise SourceError(f"{path}: damaged or cut, cannot be unpacked ({error})") from None
    try:
        return data.removeprefix(codecs.BOM_UTF8).decode()
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        found = f"the byte 0x{error.object[error.start]:02X}"
        raise SourceError(f"{path}: line {line}: {found} is not UTF-8; save it as UTF-8") from None


def open_text(path: Path) -> IO[str]:
    """The lines of `read_text`."""
    return io.StringIO(read_text(path), newline=None)


def json_object(line: str) -> dict[str, Any]:
    """A line's object.

    Raises:
        ValueError: it is no JSON, or something else than an object.
    """
    try:
        values = json.loads(line)
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON ({error})") from None
    if not isinstance(values, dict):
        raise ValueError(f"expected an object like {{...}}, got {type(values).__name__}")
    return values


def read_manifest(path: Path, speaker: str | None, language: str) -> Iterator[Recording]:
    """Clips and conversations in order.

    A clip is `{"audio", "text", "speaker"}` with `language`, `start`, `end` (seconds), `channel`
    and `id` as one likes; a conversation is `{"turns": [...]}`, whose turns have the same keys, and
    may have `audio`, `language` and `id` of its own. Paths are relative to the manifest.

    Args:
        path: the manifest.
        speaker: where a line names none.
        language: where a line names none.

    Raises:
        SourceError: names the lines that are not right, and what is wrong with them. Nothing has
            been yielded then.
    """
    found, faults = [], []
    with open_text(path) as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                found.append(_Line(path, number, speaker, language).recording(line))
            except ValueError as error:
                faults.append(f"line {number}: {error}")
    refuse_faults(path, faults)
    yield from found


class _Line:
    def __init__(self, path: Path, number: int, speaker: str | None, language: str) -> None:
        self.path, self.number, self.speaker, self.language = path, number, speaker, language

    def recording(self, line: str) -> Recording:
        values = json_object(line)
        if "turns" in values:
            check_keys(values, TALK_KEYS, "a conversation")
            turns = values["turns"]
            if not isinstance(turns, list) or not turns:
                raise ValueError("turns is not a list of at least one turn")
            said = tuple(self._numbered(turn, n, values) for n, turn in enumerate(turns, 1))
            name = f"{self.path.stem}-{self.number}"
        else:
            check_keys(values, CLIP_KEYS, "a clip")
            said = (self._turn(values, {}),)
            name = _name(said[0].audio, values["audio"])
        given = {key: text(values, key, "") for key in ("id", "language")}
        where = f"{self.path.name} line {self.number}"
        return Recording(given["id"] or name, said, given["language"] or self.language, where)

    def _numbered(self, values: Any, number: int, talk: Mapping[str, Any]) -> Turn:
        try:
            if not isinstance(values, dict):
                raise ValueError(f"expected an object like {{...}}, got {type(values).__name__}")
            check_keys(values, TURN_KEYS, "a turn")
            return self._turn(values, talk)
        except ValueError as error:
            raise ValueError(f"turn {number}: {error}") from None

    def _turn(self, values: Mapping[str, Any], talk: Mapping[str, Any]) -> Turn:
        audio = text(values, "audio", text(talk, "audio", ""))
        if not audio:
            raise ValueError("no audio")
        start_s, end_s = seconds(values, "start", 0.0), seconds(values, "end", None)
        if end_s is not None and end_s <= (start_s or 0.0):
            raise ValueError(f"end {end_s:g} is not after start {start_s:g}")
        channel = values.get("channel", 0)
        if not isinstance(channel, int) or channel < 0:
            raise ValueError(f"channel {channel!r}; allowed: 0, 1, ...")
        speaker = text(values, "speaker", self.speaker or "")
        if not speaker:
            raise ValueError("no speaker; name one for all with --speaker")
        if "text" not in values:
            raise ValueError("no text")
        place = AudioPlace(self.path.parent / audio, start_s or 0.0, end_s, channel)
        return Turn(place, " ".join(text(values, "text", "").split()), speaker)


def check_keys(values: Mapping[str, Any], allowed: set[str], what: str) -> None:
    """Raises ValueError where there is a key that nobody reads."""
    unknown = sorted(set(values) - allowed)
    if unknown:
        raise ValueError(f"unknown {unknown[0]!r} in {what}; allowed: {', '.join(sorted(allowed))}")


def text(values: Mapping[str, Any], key: str, default: str) -> str:
    """A string, or a number as one (ids and speakers are often numbers)."""
    value = values.get(key)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise ValueError(f"{key} is {value!r}, not a text")
    return str(value)


def seconds(values: Mapping[str, Any], key: str, default: float | None) -> float | None:
    """A time in a file."""
    value = values.get(key)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise ValueError(f"{key} is {value!r}; allowed: seconds from 0")
    return float(value)


def _name(place: AudioPlace, audio: str) -> str:
    """An id for a clip that names none."""
    if place.end_s is None and not place.start_s:
        return audio
    end = "" if place.end_s is None else f"{place.end_s:g}"
    return f"{audio}@{place.start_s:g}-{end}"
