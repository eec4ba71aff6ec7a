"""Turns as a request gives them, read as those of a script file are."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

from fireredtts2.script import SPEAKERS, Script, ScriptTurn, parse_script

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


def cast_of(
    script: Script, known: Mapping[str, str], held: Mapping[str, str], wanted: Mapping[str, str]
) -> dict[str, str]:
    """Who speaks in a conversation that goes on: its speakers by this script's own.

    A name that was heard before keeps its speaker. A new one with a voice is who has this voice, or
    who has none yet; without, the next who has no name. "S1" to "S4" are meant as they are written.

    Args:
        script: numbers its names by itself.
        known: speakers by name, of before.
        held: voices by speaker, of before.
        wanted: voices by this script's speakers.

    Raises:
        ValueError: more speakers than there are.
    """
    found = {turn.speaker: turn.speaker for turn in script if turn.speaker not in script.names}
    found |= {own: known[name] for own, name in script.names.items() if name in known}
    for own, name in script.names.items():
        if own in found:
            continue
        nameless = [one for one in SPEAKERS if one not in {*found.values(), *known.values()}]
        voice = wanted.get(own)
        if voice is not None:
            same = [one for one in nameless if held.get(one) == voice]
            nameless = same or [one for one in nameless if one not in held]
        if not nameless:
            taken = ", ".join(f"{who}: {speaker}" for who, speaker in known.items()) or "none named"
            raise ValueError(f"no speaker is left for {name[:80]!r}: a conversation has "
                             f"{len(SPEAKERS)} at most ({taken})")  # fmt: skip
        found[own] = nameless[0]
    return found


def recast(script: Script, cast: Mapping[str, str]) -> Script:
    """The same script with other speakers."""
    turns = [ScriptTurn(cast[turn.speaker], turn.text, turn.pause_s) for turn in script]
    names = {cast[own]: name for own, name in script.names.items()}
    voices = {cast[own]: voice for own, voice in script.voices.items() if own in cast}
    return Script(tuple(turns), names, voices)


def paragraphs(text: str, pause_s: float) -> list[dict[str, Any]]:
    """A text of one voice: a turn a paragraph, with a pause between."""
    parts = [part for part in PARAGRAPH_END.split(text.strip()) if part.strip()]
    return [
        {"speaker": ONE_VOICE, "text": part, "pause_s": pause_s if index else 0.0}
        for index, part in enumerate(parts)
    ]
