"""Lhotse manifests: `recordings.jsonl` and `supervisions.jsonl`, packed with gzip or not.

Read as the format is written down at https://lhotse.readthedocs.io/en/latest/corpus.html; Lhotse
itself is not needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from fireredtts2.training.prepare.recordings import (
    AudioPlace,
    Recording,
    SourceError,
    Turn,
    refuse_faults,
)
from fireredtts2.training.prepare.sources.manifest import json_object, open_text, seconds, text

RECORDINGS, SUPERVISIONS = "recordings", "supervisions"
Value = TypeVar("Value")


def pairs(root: Path) -> list[tuple[Path, Path]]:
    """Manifests of recordings, each with that of its supervisions, named alike."""
    if not root.is_dir():
        return []
    found = sorted([*root.glob(f"*{RECORDINGS}*.jsonl"), *root.glob(f"*{RECORDINGS}*.jsonl.gz")])
    named = [(path, path.with_name(path.name.replace(RECORDINGS, SUPERVISIONS))) for path in found]
    return [(path, other) for path, other in named if other.is_file()]


def is_lhotse(root: Path) -> bool:
    """Whether a folder has such a pair."""
    return bool(pairs(root))


def read_lhotse(root: Path, speaker: str | None, language: str) -> Iterator[Recording]:
    """Recordings in order.

    One with several speakers is a conversation of its supervisions in order of time; otherwise
    every supervision is a clip. Relative paths are looked for beside the manifests, then from the
    working directory, as Lhotse does.

    Raises:
        SourceError: no manifests, or names the lines that are not right.
    """
    found = pairs(root)
    if not found:
        raise SourceError(f"{root}: no {RECORDINGS}.jsonl with a {SUPERVISIONS}.jsonl beside it")
    for recordings_path, supervisions_path in found:
        audio = dict(_rows(recordings_path, lambda row: (str(row["id"]), _audio(row, root))))
        said: dict[str, list[dict[str, Any]]] = {}
        for row in _rows(supervisions_path, partial(_supervision, audio=audio)):
            said.setdefault(row["recording_id"], []).append(row)
        for name, rows in said.items():
            rows.sort(key=lambda row: row["start"])
            yield from _recordings(name, rows, audio[name], speaker, language)


def _recordings(
    name: str,
    rows: list[dict[str, Any]],
    audio: Mapping[int, tuple[Path, int]],
    speaker: str | None,
    language: str,
) -> Iterator[Recording]:
    turns = []
    for row in rows:
        path, place = audio[row["channel"]]
        end_s = row["start"] + row["duration"]
        turns.append(
            Turn(
                AudioPlace(path, row["start"], end_s, place),
                " ".join(row["text"].split()),
                speaker or row["speaker"] or name,
            )
        )
    tags = [row["language"] or language for row in rows]
    source = f"recording {name}"
    if len({turn.speaker for turn in turns}) > 1:
        yield Recording(name, tuple(turns), tags[0], source)
        return
    for row, turn, tag in zip(rows, turns, tags, strict=True):
        yield Recording(row["id"], (turn,), tag, source)


def _audio(row: Mapping[str, Any], root: Path) -> dict[int, tuple[Path, int]]:
    """File of every channel, and which of the file's channels it is."""
    found = {}
    for source in row["sources"]:
        if source["type"] != "file":
            raise ValueError(f"a source of type {source['type']!r}; only files are read")
        path = root / source["source"]
        path = path if path.exists() else Path(source["source"])
        for place, channel in enumerate(source["channels"]):
            found[int(channel)] = (path, place)
    return found


def _supervision(row: Mapping[str, Any], audio: Mapping[str, Mapping[int, Any]]) -> dict[str, Any]:
    """What is read of a supervision, checked."""
    name, channel = text(row, "recording_id", ""), row.get("channel", 0)
    channel = channel[0] if isinstance(channel, list) and channel else channel
    if channel not in audio.get(name, {}):
        raise ValueError(f"no recording {name!r} with a channel {channel!r}")
    duration_s = seconds(row, "duration", None)
    if not duration_s:
        raise ValueError(f"duration is {row.get('duration')!r}; allowed: more than 0 seconds")
    values = {key: text(row, key, "") for key in ("id", "text", "speaker", "language")}
    if not values["id"]:
        raise ValueError("no id")
    start_s = seconds(row, "start", 0.0)
    return {**values, "recording_id": name, "channel": channel, "start": start_s,
            "duration": duration_s}  # fmt: skip


def _rows(path: Path, read: Callable[[Mapping[str, Any]], Value]) -> list[Value]:
    found, faults = [], []
    with open_text(path) as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                found.append(read(json_object(line)))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                cause = f"no {error}" if isinstance(error, KeyError) else str(error)
                faults.append(f"line {number}: {cause}")
    refuse_faults(path, faults)
    return found
