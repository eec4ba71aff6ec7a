"""A model as it is heard in streams."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from fireredtts2.fireredtts2 import FireRedTTS2
from fireredtts2.narration.errors import SpeechError
from fireredtts2.speech import AudioChunk, Speech, Turn, collect


class HeardAsStreams(FireRedTTS2):
    """`FireRedTTS2` whose `say` and `dialogue` give what is heard where their streams are played.

    Where the model has a listener it is asked as far as there is time, also where a seed is given.
    """

    def say(self, text: str, voice: Any = None, **options: Any) -> Speech:
        """`stream_say`, heard as it comes."""
        turns: list[Turn] = []
        stream = self.stream_say(text, voice, on_turn=turns.append, **self._judged(options))
        return _heard(stream, turns)

    def dialogue(
        self, script: Any, voices: Mapping[str, Any] | None = None, **options: Any
    ) -> Speech:
        """`stream_dialogue`, heard as it comes."""
        turns: list[Turn] = []
        stream = self.stream_dialogue(script, voices, on_turn=turns.append, **self._judged(options))
        return _heard(stream, turns)

    def _judged(self, options: Mapping[str, Any]) -> dict[str, Any]:
        return {"takes": self.studio.options({}).takes, **options}


def _heard(stream: Iterator[AudioChunk], turns: list[Turn]) -> Speech:
    """All of it.

    Raises:
        SpeechError: a turn failed; it holds those before it, as of a whole clip.
    """
    try:
        return collect(stream)
    except SpeechError as error:
        error.turns = turns
        raise
