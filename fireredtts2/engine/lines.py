"""A script as it was written, to lines ready to be spoken."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, runtime_checkable

from fireredtts2.config import MONOLOGUE_SPLIT_BYTES
from fireredtts2.engine.narrator import Line
from fireredtts2.engine.prompter import speaker_name, split_tag
from fireredtts2.text import process_text_list, split_text

Prepare = Callable[[str], str]


@runtime_checkable
class ScriptTurn(Protocol):
    """A turn with more to it than tag and text."""

    @property
    def speaker(self) -> str: ...
    @property
    def text(self) -> str: ...
    @property
    def pause_s(self) -> float: ...


def dialogue_lines(script: Iterable[str | ScriptTurn], prepare: Prepare) -> list[Line]:
    """Turns of a dialogue: tagged strings, or turns of a script file.

    Raises:
        ValueError: no turns, an unknown or missing tag, or a turn without words.
    """
    if isinstance(script, str):
        raise ValueError(
            'a script is a list of turns, each a string like "[S1]Hello."; one string was given'
        )
    lines = [_dialogue_line(turn, prepare) for turn in script]
    if not lines:
        raise ValueError('the script has no turns; give at least one, like "[S1]Hello."')
    return lines


def _dialogue_line(turn: str | ScriptTurn, prepare: Prepare) -> Line:
    if isinstance(turn, str):
        speaker, pause_s = "", 0.0
        tagged = turn
    elif isinstance(turn, ScriptTurn):
        pause_s = turn.pause_s or 0.0
        tagged = f"[{speaker_name(turn.speaker)}]{turn.text}"
    else:
        raise ValueError(f'a turn is a string like "[S1]Hello.", not {type(turn).__name__}')
    pieces = [split_tag(piece) for piece in process_text_list([tagged])]
    if not pieces:
        raise ValueError(f"nothing to say in {tagged[:40]!r}")
    speaker, words = split_tag(tagged)
    return Line(speaker, words, [prepare(piece) for _, piece in pieces], pause_s)


def monologue_line(text: str, prepare: Prepare) -> Line:
    """One speaker's text, split where it is long.

    Raises:
        ValueError: there are no words in it.
    """
    pieces: Sequence[str] = split_text(text=text, length=MONOLOGUE_SPLIT_BYTES)
    if not pieces:
        raise ValueError(f"nothing to say in {text[:40]!r}")
    return Line("S1", text, [prepare(piece) for piece in pieces])
