"""Speaks a list of lines, one after the other, as one stream of audio chunks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from fireredtts2.config import OUTPUT_RATE_HZ, OUTPUT_SAMPLES_PER_FRAME
from fireredtts2.engine.errors import RequestFailedError
from fireredtts2.engine.front import AnyEngine
from fireredtts2.narration.conversation import Context, Spoken
from fireredtts2.narration.errors import SpeechError
from fireredtts2.narration.lead import ENDLESS, Lead
from fireredtts2.narration.options import Options
from fireredtts2.narration.pace import Pace
from fireredtts2.narration.take import Take, TakeError, Taken, frame_limit
from fireredtts2.proofing.listener import Listener
from fireredtts2.speech import AudioChunk, Progress, Turn

CHARACTERS_PER_S = 15.0  # of text read aloud; the first guess, before anything is spoken


@dataclass(frozen=True)
class Line:
    """One turn to be spoken.

    Attributes:
        speaker: "S1" to "S4".
        text: as it was written.
        pieces: as the model reads it; a long turn is several pieces, each a segment of its own.
        pause_s: silence before it.
    """

    speaker: str
    text: str
    pieces: Sequence[str]
    pause_s: float = 0.0


class Narrator:
    """Makes the turns of one script.

    Args:
        engine: makes the frames.
        context: what the turns follow, and are added to.
        options: sampling, limits, attempts.
        encode: audio (samples,) at 24 kHz to codes (Q, T), for `reencode_context`.
        pace: how long a text may take.
        keeps_turns: let a `SpeechError` hold the turns before it. An hour of them takes 345 MB.
        on_turn: called with every finished turn; what it holds survives an interruption.
        on_progress: called before and after every turn and with every chunk.
        priority: of what is asked of the engine.
        listener: judges takes of turns that are held, and of streams while there is time; None for
            no such judge.
        lead: how far the reader of a stream is behind.
    """

    def __init__(
        self,
        engine: AnyEngine,
        context: Context,
        options: Options,
        encode: Callable[[Tensor], Tensor],
        *,
        pace: Pace = Pace(),  # noqa: B008 - frozen
        keeps_turns: bool = True,
        on_turn: Callable[[Turn], None] | None = None,
        on_progress: Callable[[Progress], None] | None = None,
        priority: int = 0,
        listener: Listener | None = None,
        lead: Lead | None = None,
    ) -> None:
        self._engine = engine
        self._context = context
        self._options = options
        self._encode = encode
        self._pace = pace
        self._on_turn = on_turn
        self._on_progress = on_progress
        self._keeps_turns = keeps_turns
        self._turns: list[Turn] = []
        self._spoken_s = 0.0
        self._num_samples = 0
        self._began_s = 0.0
        self._priority, self._listener = priority, listener
        self._lead = lead or Lead()
        self._num_earlier = 0

    def resume(self, lines: Sequence[Line], after: Sequence[Turn]) -> None:
        """Takes the first turns as spoken earlier: what comes next is what came then.

        Raises:
            ValueError: they are not the first turns of these lines.
        """
        if after and self._options.reencode_context:
            raise ValueError("with reencode_context a conversation cannot be resumed")
        if len(after) > len(lines):
            raise ValueError(f"{len(after)} turns were spoken, of {len(lines)} that there are")
        for index, (line, turn) in enumerate(zip(lines, after, strict=False)):
            self._take_in(index, line, turn)
        self._num_earlier = len(after)
        if after:
            self._num_samples = round(after[-1].end_s * OUTPUT_RATE_HZ)

    def _take_in(self, index: int, line: Line, turn: Turn) -> None:
        is_same = (line.speaker, line.text) == (turn.speaker, turn.text)
        if not is_same or len(turn.piece_frames) != len(line.pieces):
            raise ValueError(f"turn {index + 1} was spoken with another text, or by another")
        parts = turn.codes.split(list(turn.piece_frames), dim=1)
        for piece, codes in zip(line.pieces, parts, strict=True):
            # NOTE: asked for its rows as when it was spoken: only so does the window slide alike.
            limit = frame_limit(piece, self._options, self._pace)
            self._context.blocks(line.speaker, piece, limit)
            self._context.add(Spoken(line.speaker, piece, codes))
        self._spoken_s += turn.end_s - turn.start_s

    def check(self, lines: Sequence[Line]) -> None:
        """Looks through all lines before the first is spoken.

        Raises:
            ValueError: one of them holds what the model cannot read, or is too long for it.
        """
        for line in lines:
            for piece in line.pieces:
                limit = frame_limit(piece, self._options, self._pace)
                self._context.check(line.speaker, piece, limit)

    def narrate(self, lines: Sequence[Line], hold: bool) -> Iterator[AudioChunk]:
        """Yields the audio of all lines.

        Args:
            lines: the turns.
            hold: let a piece of a turn out only when it is known to be good, see `Take.run`.

        Raises:
            SpeechError: a turn failed in every attempt.
            ValueError: the first turn does not fit in the window.
        """
        self._began_s = time.monotonic()
        self._report(self._num_earlier, lines)
        for index, line in enumerate(lines):
            if index < self._num_earlier:
                continue
            takes: list[Taken] = []
            if line.pause_s:
                yield self._pause(index, line)
            for audio in self._speak(index, line, hold, takes):
                self._count(audio)
                self._report(index, lines)
                yield AudioChunk(audio, index, line.speaker)
            turn = self._finish(line, takes)
            self._report(index + 1, lines)
            yield AudioChunk(torch.zeros(0), index, line.speaker, is_turn_end=True, turn=turn)

    def _pause(self, index: int, line: Line) -> AudioChunk:
        audio = torch.zeros(round(line.pause_s * OUTPUT_RATE_HZ))
        self._count(audio)
        return AudioChunk(audio, index, line.speaker)

    def _count(self, audio: Tensor) -> None:
        """Notes audio that is about to be yielded."""
        self._num_samples += audio.shape[0]
        self._lead.gave(audio.shape[0])

    def _speak(self, index: int, line: Line, hold: bool, takes: list[Taken]) -> Iterator[Tensor]:
        """Yields the audio of one line, and puts what came out of each piece into `takes`."""
        for piece_index, piece in enumerate(line.pieces):
            path = (index, piece_index)
            try:
                take = Take(
                    self._engine,
                    self._context,
                    line.speaker,
                    piece,
                    self._options,
                    path,
                    self._pace,
                    self._priority,
                    self._listener,
                )
                taken = yield from take.run(ENDLESS if hold else self._lead)
            except (TakeError, RequestFailedError, ValueError) as error:
                if isinstance(error, ValueError) and not self._num_samples:
                    raise  # the call was wrong, and nothing is lost
                cause = error if isinstance(error, ValueError) else error.__cause__
                raise SpeechError(
                    index, line.speaker, line.text, str(error), self._turns
                ) from cause
            self._context.add(self._segment(line.speaker, piece, taken))
            takes.append(taken)
            num_frames = self._pace.pause_frames(line.pieces, piece_index)
            if num_frames:
                silence = torch.zeros(num_frames * OUTPUT_SAMPLES_PER_FRAME)
                takes[-1] = replace(taken, audio=torch.cat([taken.audio, silence]))
                yield silence

    def _segment(self, speaker: str, text: str, taken: Taken) -> Spoken:
        codes = self._encode(taken.audio) if self._options.reencode_context else taken.codes
        return Spoken(speaker, text, codes)

    def _finish(self, line: Line, takes: Sequence[Taken]) -> Turn:
        audio = torch.cat([taken.audio for taken in takes])
        end_s = self._num_samples / OUTPUT_RATE_HZ
        turn = Turn(
            speaker=line.speaker,
            text=line.text,
            start_s=end_s - audio.shape[0] / OUTPUT_RATE_HZ,
            end_s=end_s,
            codes=torch.cat([taken.codes for taken in takes], dim=1),
            audio=audio,
            was_cut=any(taken.was_cut for taken in takes),
            piece_frames=tuple(taken.codes.shape[1] for taken in takes),
        )
        self._spoken_s += turn.end_s - turn.start_s
        if self._keeps_turns:
            self._turns.append(turn)
        if self._on_turn is not None:
            self._on_turn(turn)
        return turn

    def _report(self, turn_index: int, lines: Sequence[Line]) -> None:
        if self._on_progress is None:
            return
        seconds = self._num_samples / OUTPUT_RATE_HZ
        total_s = self._estimate_s(lines, turn_index)
        elapsed_s = time.monotonic() - self._began_s
        pace = elapsed_s / seconds if seconds else 0.0
        left_s = max(0.0, total_s - seconds) * pace
        self._on_progress(Progress(turn_index, len(lines), seconds, total_s, left_s))

    def _estimate_s(self, lines: Sequence[Line], done: int) -> float:
        """Finished turns as they are, the others by the length of their text at the same pace."""
        characters = sum(len(line.text) for line in lines[:done])
        rate = characters / self._spoken_s if self._spoken_s else CHARACTERS_PER_S
        ahead = sum(len(line.text) for line in lines[done:])
        pauses_s = sum(line.pause_s for line in lines)
        return max(self._num_samples / OUTPUT_RATE_HZ, self._spoken_s + pauses_s + ahead / rate)
