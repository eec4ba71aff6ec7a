"""What is made: chunks while it is made, turns when they are done, and the whole."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch
from torch import Tensor

from fireredtts2.config import INPUT_RATE_HZ, OUTPUT_RATE_HZ


@dataclass(frozen=True, eq=False)
class Segment:
    """Something said earlier, as context of `FireRedTTS2.generate`.

    Attributes:
        speaker: "S1" to "S4", or with brackets.
        text: what is said.
        audio: (samples,) or (channels, samples), of which the first counts; not needed where
            there are codes.
        sample_rate: of `audio`.
        codes: (Q, T) int64, if they are known.
    """

    speaker: str
    text: str
    audio: Tensor | None = None
    sample_rate: int = INPUT_RATE_HZ
    codes: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Turn:
    """One finished turn.

    Attributes:
        speaker: "S1" to "S4".
        text: what was asked for, as it was written.
        start_s: where its audio begins in the whole, in seconds.
        end_s: where it ends.
        codes: (Q, T) int64, the codes that were spoken.
        audio: (samples,) float32 on the CPU; silence may stand between the pieces of a long turn.
        was_cut: the turn had not ended when its time limit was reached.
        piece_frames: how many of the frames each piece of a long turn took.
    """

    speaker: str
    text: str
    start_s: float
    end_s: float
    codes: Tensor
    audio: Tensor = field(repr=False)
    was_cut: bool = False
    piece_frames: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class AudioChunk:
    """A piece of audio, yielded as soon as it is made.

    Attributes:
        audio: (n,) float32 on the CPU at `sample_rate`; n may be zero, at a turn's end
            and where a stream holds what it makes until that is known to be good.
        turn_index: which turn of the script this belongs to, from 0.
        speaker: "S1" to "S4".
        is_turn_end: this chunk ends its turn.
        turn: the finished turn, on its last chunk.
    """

    audio: Tensor
    turn_index: int
    speaker: str
    is_turn_end: bool = False
    turn: Turn | None = None
    sample_rate: int = OUTPUT_RATE_HZ


@dataclass(frozen=True)
class Progress:
    """Where a generation stands.

    Attributes:
        turn_index: the turn being spoken, from 0; equal to `num_turns` when all is done.
        num_turns: turns in the script.
        seconds: audio made so far.
        total_s: estimate of the whole's length, from the length of the text.
        left_s: estimate of the time still needed.
    """

    turn_index: int
    num_turns: int
    seconds: float
    total_s: float
    left_s: float

    @property
    def fraction(self) -> float:
        """How much is done, 0 to 1."""
        return min(1.0, self.seconds / self.total_s) if self.total_s > 0 else 0.0


@dataclass(frozen=True, eq=False)
class Speech:
    """A whole clip that knows its turns.

    Attributes:
        audio: (samples,) float32 on the CPU.
        sample_rate: samples per second.
        turns: the turns in order; their audio are views of `audio`.
        seed: the number that makes this clip again.
    """

    audio: Tensor
    sample_rate: int
    turns: list[Turn]
    seed: int | None = None

    @property
    def duration_s(self) -> float:
        return self.audio.shape[0] / self.sample_rate

    def save(self, path: str | Path) -> Path:
        """Writes the audio whole or not at all; the format follows the extension.

        Raises:
            ValueError: the extension is not a known format.
            OSError: the file cannot be written.
        """
        from fireredtts2.audio_writer import write_audio

        write_audio(path, self.audio, self.sample_rate)
        return Path(path)


def collect(chunks: Iterable[AudioChunk], seed: int | None = None) -> Speech:
    """A whole clip is a collected stream, sample for sample."""
    parts: list[Tensor] = []
    turns: list[Turn] = []
    for chunk in chunks:
        parts.append(chunk.audio)
        if chunk.turn is not None:
            turns.append(chunk.turn)
    audio = torch.cat(parts) if parts else torch.zeros(0)
    return Speech(audio, OUTPUT_RATE_HZ, [_view(turn, audio) for turn in turns], seed)


def _view(turn: Turn, audio: Tensor) -> Turn:
    """The same turn without audio of its own, so that nothing is held twice."""
    start = round(turn.start_s * OUTPUT_RATE_HZ)
    return replace(turn, audio=audio[start : start + turn.audio.shape[0]])
