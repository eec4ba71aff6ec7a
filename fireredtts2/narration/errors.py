"""What can go wrong with speech that was asked for rightly."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fireredtts2.speech import Turn


class SpeechError(RuntimeError):
    """A turn stayed empty, too short or without an end after every attempt, or met an error.

    Attributes:
        turn_index: which turn of the script, from 0.
        speaker: its speaker.
        text: its text.
        reason: what happened in the last attempt.
        turns: the turns finished before it, with their audio. Empty for streams, which have
            yielded them.
    """

    def __init__(
        self, turn_index: int, speaker: str, text: str, reason: str, turns: Sequence[Turn] = ()
    ) -> None:
        shown = text if len(text) <= 60 else text[:57] + "..."
        kept = f"; {len(turns)} earlier turns are kept in this error's `turns`" if turns else ""
        super().__init__(
            f"turn {turn_index + 1} ({speaker}: {shown!r}) was not spoken: {reason}{kept}"
        )
        self.turn_index = turn_index
        self.speaker = speaker
        self.text = text
        self.reason = reason
        self.turns = list(turns)
