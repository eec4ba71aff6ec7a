"""Works on disk and in projects: written whole, and read with every value looked at."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fireredtts2.atomic_file import atomic_path
from fireredtts2.script import MAX_PAUSE_S, SPEAKERS
from fireredtts2.ui.errors import StudioError
from fireredtts2.ui.work import (
    MAX_SPEED,
    MAX_TITLE_CHARACTERS,
    MAX_TURN_CHARACTERS,
    MAX_TURNS,
    MIN_SPEED,
    Sound,
    Turn,
    Work,
)

FILE_NAME = "work.json"
FORMAT, VERSION = "fireredtts2-studio", 1


def save_work(work: Work, folder: Path) -> None:
    """Writes it, whole or not at all.

    Raises:
        OSError: the disk is full; what was written before stays.
    """
    with atomic_path(folder / FILE_NAME) as temporary:
        temporary.write_text(json.dumps(work_values(work), ensure_ascii=False), encoding="utf-8")


def load_work(folder: Path) -> Work:
    """Reads what `save_work` wrote.

    Raises:
        StudioError: it is none of ours, or damaged.
    """
    try:
        values = json.loads((folder / FILE_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        raise StudioError("this is no project of the studio, or it is damaged") from None
    return read_work(values)


def work_values(work: Work) -> dict[str, Any]:
    """For JSON."""
    return {"format": FORMAT, "version": VERSION, **asdict(work)}


def read_work(values: Any) -> Work:
    """Checks every value: a project may come from anybody.

    Raises:
        StudioError: it is not right; says what.
    """
    if not isinstance(values, dict) or values.get("format") != FORMAT:
        raise StudioError("this is no project of the studio")
    if values.get("version") != VERSION:
        raise StudioError(f"a project of version {values.get('version')!r}; known: {VERSION}")
    try:
        return _checked(values)
    except (KeyError, TypeError, ValueError, AttributeError):
        raise StudioError("this project is damaged") from None


def _checked(values: Mapping[str, Any]) -> Work:
    turns = [_turn(value) for value in values["turns"]]
    work = Work(
        title=_text(values["title"], MAX_TITLE_CHARACTERS),
        script=_text(values["script"], MAX_TURNS * MAX_TURN_CHARACTERS),
        names=_by_speaker(values["names"]),
        voices=_by_speaker(values["voices"]),
        turns=turns,
        seed=_whole(values["seed"]),
        speed=_number(values["speed"], MIN_SPEED, MAX_SPEED),
        gap_s=_number(values["gap_s"], 0, MAX_PAUSE_S),
        next_id=_whole(values["next_id"]),
    )
    ids = [turn.id for turn in turns]
    if len(turns) > MAX_TURNS or len(set(ids)) != len(ids) or work.next_id <= max(ids, default=0):
        raise ValueError
    return work


def _turn(value: Mapping[str, Any]) -> Turn:
    seed, sound = value["seed"], value["sound"]
    return Turn(
        id=_whole(value["id"]),
        speaker=_speaker(value["speaker"]),
        text=_text(value["text"], MAX_TURN_CHARACTERS),
        pause_s=_number(value["pause_s"], 0, MAX_PAUSE_S),
        seed=None if seed is None else _whole(seed),
        sound=None if sound is None else _sound(sound),
    )


def _sound(value: Mapping[str, Any]) -> Sound:
    name = _text(value["name"], 80)
    if not name.replace("-", "").isalnum() or not name.isascii():
        raise ValueError  # it becomes a path
    return Sound(
        name,
        _whole(value["num_samples"]),
        _text(value["text"], MAX_TURN_CHARACTERS),
        _text(value["voice"], 200),
        _number(value["speed"], MIN_SPEED, MAX_SPEED),
    )


def _speaker(value: Any) -> str:
    if value not in SPEAKERS:
        raise ValueError
    return str(value)


def _by_speaker(value: Mapping[str, Any]) -> dict[str, str]:
    return {_speaker(speaker): _text(name, 200) for speaker, name in value.items()}


def _text(value: Any, max_characters: int) -> str:
    if not isinstance(value, str) or len(value) > max_characters:
        raise ValueError
    return value


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 2**63:
        raise ValueError
    return value


def _number(value: Any, lowest: float, highest: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError
    if not lowest <= value <= highest:
        raise ValueError
    return float(value)
