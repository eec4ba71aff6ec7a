"""What a job says: its turns, and where its chapters begin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from fireredtts2.script import Script, parse_script
from fireredtts2.serving.jobs.schemas import JobRequest, Part
from fireredtts2.serving.turn_list import ONE_VOICE, paragraphs, read_turns, with_voices


@dataclass(frozen=True)
class ChapterStart:
    """A chapter, and its first turn, from 0."""

    title: str
    first_turn: int


@dataclass(frozen=True)
class Plan:
    """A job's script.

    Attributes:
        script: all turns.
        chapters: in order; empty where there are none.
        voices: names of voices by "S1" to "S4".
    """

    script: Script
    chapters: tuple[ChapterStart, ...]
    voices: dict[str, str]

    @property
    def num_characters(self) -> int:
        return sum(len(turn.text) for turn in self.script)

    def name_of(self, speaker: str) -> str:
        """As the script calls it."""
        return self.script.names.get(speaker, speaker)


def plan_of(asked: JobRequest) -> Plan:
    """Reads a job's script.

    Raises:
        ValueError: it is not right, or there is none, or more than one.
    """
    given = [n for n in ("text", "script", "turns", "chapters") if getattr(asked, n) is not None]
    if len(given) != 1:
        raise ValueError("give one of `text`, `script`, `turns` and `chapters`, not "
                         f"{' and '.join(given) or 'none'}")  # fmt: skip
    turns: list[dict[str, Any]] = []
    chapters: list[ChapterStart] = []
    own_voices: dict[str, str] = {}
    num_turns = 0
    for number, part in enumerate(asked.chapters or [asked], 1):
        added, voices = _turns_of(part, asked, f"chapter {number}: " if asked.chapters else "")
        if num_turns and added:
            added[0]["pause_s"] = max(added[0]["pause_s"], asked.chapter_pause_s)
        if asked.chapters:
            chapters.append(ChapterStart(asked.chapters[number - 1].title, num_turns))
        num_turns += len(added)
        turns += added
        own_voices |= voices
    script = read_turns(turns, own_voices)
    return Plan(script, tuple(chapters), with_voices(script, _asked_voices(asked)))


def _turns_of(
    part: Part, asked: JobRequest, where: str
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """A part's turns, pauses taken out of their texts, and its own voices by label."""
    given = [name for name in ("text", "script", "turns") if getattr(part, name) is not None]
    if len(given) != 1:
        raise ValueError(f"{where}give one of `text`, `script` and `turns`")
    try:
        script = _script_of(part, asked)
    except ValueError as error:
        raise ValueError(f"{where}{error}") from None
    turns = [
        {
            "speaker": script.names.get(turn.speaker, turn.speaker),
            "text": turn.text,
            "pause_s": turn.pause_s,
        }
        for turn in script
    ]
    return turns, {script.names.get(s, s): voice for s, voice in script.voices.items()}


def _script_of(part: Part, asked: JobRequest) -> Script:
    if part.script is not None:
        return parse_script(part.script)
    if part.turns is not None:
        return read_turns([turn.model_dump() for turn in part.turns])
    return read_turns(paragraphs(part.text or "", asked.paragraph_pause_s))


def _asked_voices(asked: JobRequest) -> dict[str, str]:
    if asked.voice is None:
        return asked.voices
    return {ONE_VOICE: asked.voice, **asked.voices}
