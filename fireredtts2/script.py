"""Dialogue scripts: what is spoken by whom, from text, Markdown or JSON."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

from fireredtts2.script_formats import RawTurn, read_json, read_markdown, read_plain
from fireredtts2.text import check_speakable

ScriptFormat = Literal["txt", "md", "json"]
SPEAKERS = ("S1", "S2", "S3", "S4")
#: The tokenizer knows these marks wherever they stand.
INNER_TAG = re.compile(r"\[S\d+\]|\[S_(?:PODCAST|DIALOG)_\d+\]")
MAX_PAUSE_S = 60.0

_SUFFIXES: dict[str, ScriptFormat] = {
    ".txt": "txt", ".text": "txt", ".md": "md", ".markdown": "md", ".json": "json",
}  # fmt: skip
_PAUSE = re.compile(r"\[\s*pause\b([^\]]*)\]", re.IGNORECASE)
_DURATION = re.compile(r"\s*[:= ]\s*(\d{1,6}(?:\.\d{1,6})?)\s*(ms|s|)\s*", re.IGNORECASE)
_EXPLICIT = re.compile(r"\[?(S\d+)\]?", re.IGNORECASE)


@dataclass(frozen=True)
class ScriptTurn:
    """One turn.

    Attributes:
        speaker: "S1" to "S4".
        text: what is said.
        pause_s: silence before it, in seconds.
    """

    speaker: str
    text: str
    pause_s: float = 0.0


@dataclass(frozen=True)
class Script:
    """Turns in order, with the names and voices that the script gives to its speakers.

    Attributes:
        turns: what is said.
        names: as written in the script, by speaker.
        voices: names of voices, by speaker.
    """

    turns: tuple[ScriptTurn, ...]
    names: dict[str, str] = field(default_factory=dict)
    voices: dict[str, str] = field(default_factory=dict)

    def __iter__(self) -> Iterator[ScriptTurn]:
        return iter(self.turns)

    def __len__(self) -> int:
        return len(self.turns)

    def __getitem__(self, index: int) -> ScriptTurn:
        return self.turns[index]


def read_script(path: str | Path, format: ScriptFormat | None = None) -> Script:
    """Reads a script file.

    Args:
        path: a UTF-8 file.
        format: of the file; by its suffix if not given.

    Returns:
        The script.

    Raises:
        ValueError: the file cannot be read, its suffix is unknown, or as `parse_script`.
    """
    path = Path(path)
    if format is None and path.suffix.lower() not in _SUFFIXES:
        raise ValueError(
            f"{path}: unknown kind of script {path.suffix!r}; allowed: {', '.join(_SUFFIXES)}"
        )
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: not UTF-8 text (byte {error.start})") from None
    try:
        return parse_script(text, format or _SUFFIXES[path.suffix.lower()])
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def parse_script(text: str, format: ScriptFormat | None = None) -> Script:
    """Reads a script.

    Text has a turn a line: `[S1] Hello.`, `S1: Hello.` or `Anna: Hello.`; a line without a
    speaker goes on with the turn above it, and one that begins with "# " is a remark. Markdown
    has the same with `**Anna:** Hello.`; headings, comments and code are left out. JSON is a list
    of `{"speaker": ..., "text": ..., "pause_s": ...}`, or `{"turns": [...], "voices": {...}}`.
    `[pause:0.5s]` anywhere in a turn, or on a line of its own, is a silence.

    Names become S1 to S4 in order of appearance.

    Args:
        text: the script.
        format: of the text; guessed if not given.

    Returns:
        The script.

    Raises:
        ValueError: names the line or the turn that is not right.
    """
    format = format or _guess(text)
    if format not in get_args(ScriptFormat):
        raise ValueError(
            f"unknown script format {format!r}; allowed: {', '.join(get_args(ScriptFormat))}"
        )
    voices: dict[str, str] = {}
    if format == "json":
        raw, voices = read_json(text)
    else:
        raw = (read_plain if format == "txt" else read_markdown)(text)
    speakers = _cast(raw)
    turns = _with_pauses(raw, speakers)
    if not turns:
        raise ValueError("the script has no turns; write at least one, such as [S1] Hello.")
    names = {speaker: name for name, speaker in speakers.items() if not _explicit(name)}
    return Script(tuple(turns), names, _voices_by_speaker(voices, speakers))


def _guess(text: str) -> ScriptFormat:
    if re.match(r"\s*(?:\{|\[\s*[\[{\"\]])", text):
        return "json"
    return "md" if re.search(r"(?m)^[\s>*-]*\*\*[^*\n]+\*\*|^#+ ", text) else "txt"


def _cast(raw: Sequence[RawTurn]) -> dict[str, str]:
    """Speaker by label, labels in order of appearance.

    NOTE: "S1" is itself, wherever it stands; names share what no label has taken.
    """
    labels = dict.fromkeys(turn.label for turn in raw if turn.label)
    taken = {label: speaker for label in labels if (speaker := _explicit(label))}
    where = {turn.label: turn.where for turn in reversed(raw)}
    for label, speaker in taken.items():
        if speaker not in SPEAKERS:
            raise ValueError(
                f"{where[label]}: unknown speaker {label!r}; allowed: {', '.join(SPEAKERS)}"
            )
    free = [speaker for speaker in SPEAKERS if speaker not in taken.values()]
    cast: dict[str, str] = {}
    for label in labels:
        if label not in taken and not free:
            raise ValueError(
                f"{where[label]}: {label!r} is one speaker too many; at most {len(SPEAKERS)} "
                f"are allowed, and the others are {', '.join(cast)}"
            )
        cast[label] = taken.get(label) or free.pop(0)
    return cast


def _explicit(label: str) -> str | None:
    match = _EXPLICIT.fullmatch(label)
    return match[1].upper() if match else None


def _with_pauses(raw: Sequence[RawTurn], speakers: dict[str, str]) -> list[ScriptTurn]:
    """Splits turns at the pauses in them; a pause goes before the words that follow it."""
    turns: list[ScriptTurn] = []
    waiting_s, where = 0.0, ""
    for turn in raw:
        where = turn.where
        waiting_s += _checked_pause(turn.pause_s, where)
        parts = _PAUSE.split(turn.text)
        for index, part in enumerate(parts):
            if index % 2:
                waiting_s = _checked_pause(waiting_s + _pause_s(part, where), where)
            elif part.strip() or (len(parts) == 1 and turn.label):
                turns.append(ScriptTurn(speakers[turn.label], _said(part, where), waiting_s))
                waiting_s = 0.0
    if waiting_s:
        raise ValueError(f"{where}: a pause at the end has no turn after it; take it out")
    return turns


def _said(text: str, where: str) -> str:
    try:
        check_speakable(text)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None
    return " ".join(text.split())


def _pause_s(duration: str, where: str) -> float:
    match = _DURATION.fullmatch(duration)
    if match is None:
        raise ValueError(
            f"{where}: cannot read [pause{duration}]; write [pause:0.5s] or [pause:500ms]"
        )
    return float(match[1]) / (1000 if match[2].lower() == "ms" else 1)


def _checked_pause(pause_s: float, where: str) -> float:
    if not 0 <= pause_s <= MAX_PAUSE_S:
        raise ValueError(f"{where}: a pause of {pause_s} s; allowed: 0 to {MAX_PAUSE_S:g} s")
    return pause_s


def _voices_by_speaker(voices: dict[str, str], speakers: dict[str, str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for label, voice in voices.items():
        speaker = speakers.get(label) or _explicit(label) or ""
        if speaker not in speakers.values():
            raise ValueError(
                f"voices: no turn is spoken by {label!r}; speakers: {', '.join(speakers)}"
            )
        found[speaker] = voice
    return found
