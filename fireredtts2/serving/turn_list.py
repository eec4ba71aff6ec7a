"""Turns as a request gives them, read as those of a script file are."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from fireredtts2.script import Script, parse_script

#: What the beginning of a pause looks like; the script's reader says whether it is right.
PAUSE = re.compile(r"\[\s*pause\b", re.IGNORECASE)
PARAGRAPH_END = re.compile(r"\n[ \t]*\n\s*")
ONE_VOICE = "S1"


def read_turns(turns: Sequence[Mapping[str, Any]], voices: Mapping[str, str] = {}) -> Script:
    """A script of turns; a pause in a text cuts its turn in two.

    Args:
        turns: each with `speaker`, `text` and `pause_s`.
        voices: names of voices by speaker.

    Raises:
        ValueError: a speaker, text, pause or voice that is not right; says which turn.
    """
    text = json.dumps({"turns": [dict(turn) for turn in turns], "voices": dict(voices)})
    return parse_script(text, "json")


def with_voices(script: Script, voices: Mapping[str, str]) -> dict[str, str]:
    """Names of voices by "S1" to "S4": the script's own, and those given by label.

    Raises:
        ValueError: nobody speaks by that label.
    """
    speakers = {turn.speaker: turn.speaker for turn in script}
    speakers |= {name: speaker for speaker, name in script.names.items()}
    found = dict(script.voices)
    for label, voice in voices.items():
        plain = label.strip().strip("[]")
        speaker = speakers.get(plain) or speakers.get(plain.upper())
        if speaker is None:
            known = ", ".join(sorted(set(speakers)))
            raise ValueError(f"voices: no turn is spoken by {label[:80]!r}; speakers: {known}")
        found[speaker] = voice
    return found


def paragraphs(text: str, pause_s: float) -> list[dict[str, Any]]:
    """A text of one voice: a turn a paragraph, with a pause between."""
    parts = [part for part in PARAGRAPH_END.split(text.strip()) if part.strip()]
    return [
        {"speaker": ONE_VOICE, "text": part, "pause_s": pause_s if index else 0.0}
        for index, part in enumerate(parts)
    ]
