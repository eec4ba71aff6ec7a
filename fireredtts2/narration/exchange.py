"""A conversation that goes on piece by piece, as its texts come in, and may be broken off."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from fireredtts2.config import FRAME_RATE_HZ, OUTPUT_SAMPLES_PER_FRAME
from fireredtts2.engine.errors import RequestFailedError
from fireredtts2.engine.front import AnyEngine
from fireredtts2.narration.conversation import Conversation, Spoken
from fireredtts2.narration.errors import SpeechError
from fireredtts2.narration.lead import Lead
from fireredtts2.narration.lines import Typesetter
from fireredtts2.narration.narrator import CHARACTERS_PER_S
from fireredtts2.narration.options import Options
from fireredtts2.narration.pace import Pace
from fireredtts2.narration.take import Take, TakeError, Taken, frame_limit
from fireredtts2.proofing.listener import Listener
from fireredtts2.script import ScriptTurn
from fireredtts2.speech import AudioChunk

#: Pieces that can still be shortened when it turns out what was heard of them.
NUM_RECENT = 64


class BusyError(RuntimeError):
    """The conversation is being spoken already."""


class Exchange:
    """Speaks texts one after the other; each follows what was heard before it.

    A stream that is closed early was heard as far as it was yielded: so much of its codes stays in
    the conversation, with about as much of its text. `forget` shortens further. One stream at a
    time; a second one is refused. Threads may take turns.

    Args:
        engine: makes the frames.
        conversation: of this exchange alone.
        typesetter: prepares texts.
        options: sampling, limits, the seed; the same texts in the same pieces sound the same again
            where `takes` is 1.
        pace: how long a text may take.
        listener: judges takes while there is time; None for no such judge.
    """

    def __init__(
        self,
        engine: AnyEngine,
        conversation: Conversation,
        typesetter: Typesetter,
        options: Options,
        pace: Pace,
        listener: Listener | None = None,
    ) -> None:
        self._engine, self._conversation = engine, conversation
        self._typesetter, self._options, self._pace = typesetter, options, pace
        self._listener = listener
        # With the frames of silence that followed each.
        self._recent: deque[tuple[Spoken, int]] = deque(maxlen=NUM_RECENT)
        self._num_streams = 0
        self._lock = threading.Lock()

    @property
    def is_busy(self) -> bool:
        """Whether a stream is being read."""
        return self._lock.locked()

    @property
    def num_rows(self) -> int:
        """Rows of the model's input that the conversation holds: what its memory grows with."""
        return self._conversation.num_rows

    def add_voice(self, prompt: Spoken) -> None:
        """Gives a speaker a voice from now on.

        Raises:
            BusyError: while somebody speaks.
        """
        with self._alone():
            self._conversation.add_prompt(prompt)

    def stream(
        self, text: str, speaker: str = "S1", lead: Lead | None = None
    ) -> Generator[AudioChunk, None, None]:
        """Speaks a text, a whole turn or a piece of one.

        Args:
            text: any length; long ones are spoken in pieces.
            speaker: "S1" to "S4".
            lead: how far whoever hears it is behind, where he hears other streams before this one
                or hears it faster; by default this one alone, as it was spoken.

        Yields:
            Audio as it is made, none (n = 0) where it is held for the listener's sake; `turn_index`
            counts the streams of this exchange.

        Raises:
            ValueError: nothing to say, an unknown speaker, or too long for the window.
            SpeechError: every attempt failed. What was said before stays.
            BusyError: another stream has not ended.
        """
        # NOTE: looked through here, not when the first chunk is asked for.
        [line] = self._typesetter.dialogue([ScriptTurn(speaker, text)])
        for piece in line.pieces:
            limit = frame_limit(piece, self._options, self._pace)
            self._conversation.check(line.speaker, piece, limit)
        return self._stream(line.speaker, text, line.pieces, lead or Lead())

    def forget(self, seconds: float) -> None:
        """Takes back the last seconds that were yielded: they were not heard.

        Raises:
            BusyError: while somebody speaks.
        """
        with self._alone():
            num_frames = round(max(0.0, seconds) * FRAME_RATE_HZ)
            while num_frames > 0 and self._recent:
                last, pause_frames = self._recent.pop()
                num_frames -= pause_frames
                if num_frames <= 0:
                    self._recent.append((last, -num_frames))
                    break
                self._conversation.drop_last()
                num_left = last.codes.shape[1] - num_frames
                num_frames -= last.codes.shape[1]
                if num_left > 0:
                    self._add(shortened(last, num_left, last.codes.shape[1]))

    # --- One stream -----------------------------------------------------------------------------

    def _stream(
        self, speaker: str, text: str, pieces: Sequence[str], lead: Lead
    ) -> Generator[AudioChunk, None, None]:
        with self._alone():
            index = self._num_streams
            self._num_streams += 1
            for number, piece in enumerate(pieces):
                take = Take(
                    self._engine,
                    self._conversation,
                    speaker,
                    piece,
                    self._options,
                    (index, number),
                    self._pace,
                    listener=self._listener,
                )
                try:
                    taken = yield from self._heard(take, index, speaker, piece, lead)
                except (TakeError, RequestFailedError) as error:
                    raise SpeechError(index, speaker, text, str(error), []) from error.__cause__
                pause_frames = self._pace.pause_frames(pieces, number)
                self._add(Spoken(speaker, piece, taken.codes), pause_frames)
                if pause_frames:
                    silence = torch.zeros(pause_frames * OUTPUT_SAMPLES_PER_FRAME)
                    lead.gave(silence.shape[0])
                    yield AudioChunk(silence, index, speaker)
            yield AudioChunk(torch.zeros(0), index, speaker, is_turn_end=True)

    def _heard(
        self, take: Take, index: int, speaker: str, piece: str, lead: Lead
    ) -> Generator[AudioChunk, None, Taken]:
        """A take's audio; where the reader goes, what was yielded is kept."""
        num_samples = 0
        audio = take.run(lead)
        try:
            while True:
                try:
                    part: Tensor = next(audio)
                except StopIteration as end:
                    return end.value
                num_samples += part.shape[0]
                lead.gave(part.shape[0])
                yield AudioChunk(part, index, speaker)
        except GeneratorExit:
            audio.close()
            self._keep(take, speaker, piece, num_samples)
            raise

    def _keep(self, take: Take, speaker: str, piece: str, num_samples: int) -> None:
        num_heard = min(round(num_samples / OUTPUT_SAMPLES_PER_FRAME), take.num_spoken)
        if num_heard == 0:
            return
        num_whole = take.num_spoken if take.has_ended else expected_frames(piece)
        whole = Spoken(speaker, piece, take.codes)
        self._add(shortened(whole, num_heard, max(num_heard, num_whole)))

    def _add(self, spoken: Spoken, pause_frames: int = 0) -> None:
        self._conversation.add(spoken)
        self._recent.append((spoken, pause_frames))

    @contextmanager
    def _alone(self) -> Iterator[None]:
        if not self._lock.acquire(blocking=False):
            raise BusyError("this conversation is being spoken already: one stream at a time")
        try:
            yield
        finally:
            self._lock.release()


def expected_frames(text: str) -> int:
    """About how long a text takes; for one that was broken off."""
    return max(1, round(len(text) / CHARACTERS_PER_S * FRAME_RATE_HZ))


def shortened(spoken: Spoken, num_frames: int, num_whole: int) -> Spoken:
    """The first frames of a segment, with about the part of its text that was said in them.

    Args:
        spoken: what was to be said, with at least `num_frames` frames.
        num_frames: that were heard.
        num_whole: that the whole text takes.
    """
    text = first_part(spoken.text, num_frames / num_whole)
    return Spoken(spoken.speaker, text, spoken.codes[:, :num_frames])


def first_part(text: str, share: float) -> str:
    """About this share of a text, to the end of a word; of a text without spaces to a letter."""
    if share >= 1:
        return text
    end = max(1, round(len(text) * max(0.0, share)))
    if " " in text.strip():
        space = text.find(" ", end)
        end = len(text) if space < 0 else space
    return text[:end].rstrip() or text
