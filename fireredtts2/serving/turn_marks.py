"""Where turns begin and end, told beside the audio of a stream."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from fireredtts2.config import OUTPUT_RATE_HZ
from fireredtts2.script import ScriptTurn
from fireredtts2.speech import AudioChunk


class TurnMarks:
    """Looks at chunks as they pass, and keeps the events that are due.

    Args:
        turns: of the script.
        speed: of what is heard.
    """

    def __init__(self, turns: Sequence[ScriptTurn], speed: float = 1.0) -> None:
        self._turns, self._speed = turns, speed
        self._due: list[dict[str, Any]] = []

    def watched(self, chunks: Iterator[AudioChunk]) -> Iterator[AudioChunk]:
        """The same chunks."""
        num_samples, begun, paused = 0, -1, -1
        try:
            for chunk in chunks:
                index = chunk.turn_index
                if index not in (begun, paused) and self._turns[index].pause_s:
                    paused = index  # the first chunk of such a turn is its pause
                elif index != begun:
                    begun = index
                    self._mark("started", index, start_s=num_samples / OUTPUT_RATE_HZ)
                num_samples += chunk.audio.shape[0]
                if chunk.turn is not None:
                    times = {"start_s": chunk.turn.start_s, "end_s": chunk.turn.end_s}
                    self._mark("done", index, **times)
                yield chunk
        finally:
            close = getattr(chunks, "close", None)
            if close is not None:
                close()

    def take(self) -> list[dict[str, Any]]:
        """The events that are due."""
        due, self._due = self._due, []
        return due

    def _mark(self, kind: str, index: int, **times: float) -> None:
        turn = self._turns[index]
        self._due.append(
            {
                "type": f"speech.turn.{kind}",
                "turn": index,
                "speaker": turn.speaker,
                "text": turn.text,
                **{name: round(time_s / self._speed, 6) for name, time_s in times.items()},
            }
        )
