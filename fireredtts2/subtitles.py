"""Subtitles: turns of speech to SRT and WebVTT cues of at most two lines."""

from __future__ import annotations

import html
import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Protocol

MAX_LINE_WIDTH = 42  # columns; a Chinese or Japanese letter takes two
MAX_LINES = 2
SENTENCE_END = re.compile(r"(?<=[.!?…])(?=\s)|(?<=[。！？])")
SPEAKER_TAG = re.compile(r"^\s*\[S\d+\]")


class SpokenTurn(Protocol):
    """What a cue needs to know of a turn."""

    @property
    def speaker(self) -> str: ...
    @property
    def text(self) -> str: ...
    @property
    def start_s(self) -> float: ...
    @property
    def end_s(self) -> float: ...


@dataclass(frozen=True)
class Cue:
    """What is on the screen from `start_ms` to `end_ms`."""

    speaker: str
    lines: tuple[str, ...]
    start_ms: int
    end_ms: int


def to_srt(turns: Iterable[SpokenTurn]) -> str:
    """SubRip text; speakers are not named.

    Example:
        >>> to_srt(speech.turns)  # doctest: +SKIP
    """
    blocks = [
        f"{number}\n{_clock(cue.start_ms, ',')} --> {_clock(cue.end_ms, ',')}\n"
        + "\n".join(cue.lines)
        + "\n"
        for number, cue in enumerate(_all_cues(turns), start=1)
    ]
    return "\n".join(blocks)


def to_vtt(turns: Iterable[SpokenTurn]) -> str:
    """WebVTT text, every cue in a voice tag with its speaker's name."""
    blocks = ["WEBVTT\n"]
    for cue in _all_cues(turns):
        text = "\n".join(html.escape(line, quote=False) for line in cue.lines)
        speaker = html.escape(" ".join(cue.speaker.split()), quote=False)
        voice = f"<v {speaker}>" if speaker else ""
        times = f"{_clock(cue.start_ms, '.')} --> {_clock(cue.end_ms, '.')}"
        blocks.append(f"{times}\n{voice}{text}\n")
    return "\n".join(blocks)


def turn_cues(turn: SpokenTurn) -> list[Cue]:
    """Cuts a turn at sentence ends and words; time goes by the length of the text.

    Raises:
        ValueError: the turn ends before it starts, or starts before zero.
    """
    if not 0 <= turn.start_s <= turn.end_s:
        raise ValueError(f"a turn from {turn.start_s} s to {turn.end_s} s cannot be shown")
    parts = split_cues(SPEAKER_TAG.sub("", turn.text))
    start_ms, length_ms = turn.start_s * 1000, (turn.end_s - turn.start_s) * 1000
    total = sum(map(width, parts))
    cues: list[Cue] = []
    done = 0
    for part in parts:
        begin = round(start_ms + length_ms * done / total)
        done += width(part)
        end = round(start_ms + length_ms * done / total)
        cues.append(Cue(turn.speaker, tuple(wrap(part)), begin, end))
    return cues


def split_cues(text: str) -> list[str]:
    """Cuts text into pieces that fit on the screen; short sentences share a piece."""
    pieces: list[str] = []
    for sentence in SENTENCE_END.split(" ".join(text.split())):
        if pieces and _fits(pieces[-1] + sentence):
            pieces[-1] += sentence
        elif sentence.strip():
            pieces += _cut_sentence(sentence.strip())
    return pieces


def wrap(text: str) -> list[str]:
    """Breaks text into lines of at most `MAX_LINE_WIDTH` columns."""
    lines = [""]
    for unit in _units(text):
        if width((lines[-1] + unit).strip()) <= MAX_LINE_WIDTH:
            lines[-1] += unit
        else:
            lines.append(unit)
    return [line.strip() for line in lines]


def width(text: str) -> int:
    """Columns that a text takes."""
    return sum(2 if unicodedata.east_asian_width(letter) in "WF" else 1 for letter in text)


def _cut_sentence(sentence: str) -> list[str]:
    """Cuts a sentence into as few pieces as will do, of about the same length."""
    if _fits(sentence):
        return [sentence]
    number = -(-width(sentence) // (MAX_LINES * MAX_LINE_WIDTH))
    budget = width(sentence) / number
    pieces = [""]
    for unit in _units(sentence):
        if width(pieces[-1]) < budget and _fits(pieces[-1] + unit):
            pieces[-1] += unit
        else:
            pieces.append(unit.strip())
    return pieces


def _fits(text: str) -> bool:
    return len(wrap(text)) <= MAX_LINES


def _units(text: str) -> list[str]:
    """What a line may be broken between: words with the space before them, wide letters singly."""
    units: list[str] = []
    for letter in text:
        if units and (units[-1] == " " or _clings(units[-1], letter)):
            units[-1] += letter
        else:
            units.append(letter)
    return units


def _clings(unit: str, letter: str) -> bool:
    """Whether no line may begin with `letter` after `unit`; an endless word is cut."""
    if unicodedata.category(letter) in ("Po", "Pe", "Pf"):
        return width(unit) < MAX_LINE_WIDTH - 1
    is_inside_word = not letter.isspace() and width(letter) == width(unit[-1]) == 1
    return is_inside_word and width(unit.strip()) < MAX_LINE_WIDTH


def _all_cues(turns: Iterable[SpokenTurn]) -> Iterator[Cue]:
    for turn in turns:
        yield from turn_cues(turn)


def _clock(time_ms: int, point: str) -> str:
    seconds, ms = divmod(time_ms, 1000)
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}{point}{ms:03}"
