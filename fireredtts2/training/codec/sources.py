"""Where sound is found: a folder of files, a manifest, or whatever `prepare` reads."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from fireredtts2.training.prepare.recordings import (
    AudioPlace,
    Recording,
    SourceError,
    Turn,
    apart,
    refuse_faults,
    refuse_repeated_ids,
)
from fireredtts2.training.prepare.sources.detect import LAYOUTS, read_source
from fireredtts2.training.prepare.sources.folder import audio_files
from fireredtts2.training.prepare.sources.manifest import (
    CLIP_KEYS,
    TALK_KEYS,
    TURN_KEYS,
    check_keys,
    is_manifest,
    open_text,
    seconds,
    text,
)

#: A folder in one of these forms names its own files, with their beginnings and ends.
DESCRIBED = ("ljspeech", "lhotse", "huggingface")


def read_sounds(path: Path) -> list[Recording]:
    """The recordings of a source, one turn each, in an order that is always the same.

    No text is needed: a folder's sound files are all taken, and a manifest's lines need `audio`
    alone.

    Raises:
        SourceError: there is no such thing, nothing in it, or what is there is not right.
    """
    if not path.exists():
        raise SourceError(f"{path}: no such file or folder")
    if is_manifest(path):
        found = list(_manifest(path))
    elif not takes_all_below(path):
        found = read_source(path, conversations=False)[1]
    else:
        found = [_recording(file.relative_to(path).as_posix(), file) for file in audio_files(path)]
    if not found:
        raise SourceError(f"{path}: no sound files in it")
    refuse_repeated_ids(found)
    return found


def takes_all_below(path: Path) -> bool:
    """Whether a source is a folder whose sound files are all taken, those below it too."""
    return path.is_dir() and not any(LAYOUTS[name].is_one(path) for name in DESCRIBED)


def _recording(name: str, file: Path) -> Recording:
    return Recording(name, (Turn(AudioPlace(file), "", file.parent.name),), "", name)


def _manifest(path: Path) -> Iterator[Recording]:
    found, faults = [], []
    with open_text(path) as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                found.append(_from_line(path, number, line))
            except ValueError as error:
                faults.append(f"line {number}: {error}")
    refuse_faults(path, faults)
    for recording in found:
        yield from apart(recording)


def _from_line(path: Path, number: int, line: str) -> Recording:
    values = json.loads(line)
    if not isinstance(values, dict):
        raise ValueError(f"expected an object like {{...}}, got {type(values).__name__}")
    turns = values.get("turns", [values])
    check_keys(values, TALK_KEYS if "turns" in values else CLIP_KEYS, "a line")
    if not isinstance(turns, list) or not turns:
        raise ValueError("turns is not a list of at least one turn")
    whole = text(values, "audio", "")
    said = tuple(_turn(path, turn, whole, turn is not values) for turn in turns)
    name = text(values, "id", "") or f"{path.stem}-{number}"
    return Recording(name, said, "", f"{path.name} line {number}")


def _turn(path: Path, values: Any, whole: str, is_inner: bool) -> Turn:
    if not isinstance(values, Mapping):
        raise ValueError(f"expected an object like {{...}}, got {type(values).__name__}")
    if is_inner:
        check_keys(values, TURN_KEYS, "a turn")
    audio = text(values, "audio", whole)
    if not audio:
        raise ValueError("no audio")
    start_s, end_s = seconds(values, "start", 0.0) or 0.0, seconds(values, "end", None)
    if end_s is not None and end_s <= start_s:
        raise ValueError(f"end {end_s:g} is not after start {start_s:g}")
    channel = values.get("channel", 0)
    if isinstance(channel, bool) or not isinstance(channel, int) or channel < 0:
        raise ValueError(f"channel {channel!r}; allowed: 0, 1, ...")
    place = AudioPlace(path.parent / audio, start_s, end_s, channel)
    return Turn(place, "", text(values, "speaker", ""))
