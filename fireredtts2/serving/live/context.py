"""One conversation on a live connection: texts in, sound and events out, broken off at any time."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import anyio

from fireredtts2.config import OUTPUT_RATE_HZ
from fireredtts2.narration.exchange import Exchange, first_part
from fireredtts2.serving.audio_stream import ChunkReader
from fireredtts2.serving.errors import ApiError, as_api_error, body_of
from fireredtts2.serving.live.limits import LiveLimits
from fireredtts2.serving.live.text_cutter import TextCutter, is_speakable
from fireredtts2.serving.live.voice_track import VoiceTrack
from fireredtts2.serving.reserve import Reserve
from fireredtts2.serving.server import Server

Event = dict[str, Any]


class Outlet(Protocol):
    """Where a context's sound and events go. Both wait while the client takes nothing."""

    async def event(self, event: Event) -> None: ...
    async def sound(self, data: bytes) -> None: ...


@dataclass(frozen=True)
class Piece:
    """A text to be spoken; the last one of a turn has `ends_turn`, and may be empty."""

    text: str
    speaker: str
    ends_turn: bool = False


@dataclass
class SpokenPiece:
    """A piece and when it sounds, in seconds of its turn; `end_s` is set when it is whole."""

    text: str
    begin_s: float
    end_s: float | None = None


@dataclass
class LiveTurn:
    """The turn that is being spoken."""

    speaker: str
    track: VoiceTrack
    reserve: Reserve
    began: float = field(default_factory=time.perf_counter)
    paused: float = field(default_factory=time.perf_counter)  # when its last piece was given
    sent_s: float = 0.0
    pieces: list[SpokenPiece] = field(default_factory=list)

    def text_until(self, heard_s: float) -> str:
        """About what was said until then."""
        parts = []
        for piece in self.pieces:
            end_s = piece.end_s if piece.end_s is not None else max(self.sent_s, heard_s) + 1e-6
            if piece.begin_s >= heard_s:
                break
            share = (heard_s - piece.begin_s) / max(1e-6, end_s - piece.begin_s)
            parts.append(piece.text if share >= 1 else first_part(piece.text.strip(), share))
        return "".join(parts).strip()


class LiveContext:
    """Speaks what it is given, piece after piece, until it is closed.

    Args:
        server: whose model speaks.
        exchange: what was said before.
        outlet: where everything goes.
        new_track: an encoder for one turn.
        limits: of the connection.
        speed: of the sound, for its times.
    """

    def __init__(
        self,
        server: Server,
        exchange: Exchange,
        outlet: Outlet,
        new_track: Callable[[], VoiceTrack],
        limits: LiveLimits,
        speed: float = 1.0,
    ) -> None:
        self._server, self._exchange, self._outlet = server, exchange, outlet
        self._new_track, self._limits, self._speed = new_track, limits, speed
        self._cutter, self._speaker = TextCutter(), "S1"
        self._pieces: deque[Piece] = deque()
        self._num_pending = 0  # characters of the pieces that wait
        self._turn: LiveTurn | None = None
        self._speaking: anyio.CancelScope | None = None
        self._has_work, self._is_idle = anyio.Event(), anyio.Event()
        self._is_idle.set()
        self._is_cancelling = self._is_closed = False
        self._lead = server.lead(speed)  # of who hears one turn after the other

    @property
    def is_idle(self) -> bool:
        """Whether nothing is spoken, and nothing waits to be."""
        return self._speaking is None and not self._pieces

    # --- What the client asks -------------------------------------------------------------------

    def text(self, text: str, speaker: str | None = None) -> None:
        """More text, in pieces of any kind; another speaker begins another turn.

        Raises:
            ApiError: too much waits already.
        """
        if self._num_pending + self._cutter.num_waiting + len(text) > self._limit:
            raise ApiError(429, f"more than {self._limit} characters wait to be spoken: send the "
                           "next text when some of it was", "rate_limit_error",
                           "too_much_pending")  # fmt: skip
        if speaker is not None and speaker != self._speaker:
            self.done()
            self._speaker = speaker
        self._queue(self._cutter.push(text))

    def flush(self) -> None:
        """Speaks what there is, though its sentence has not ended."""
        self._queue(self._cutter.flush())

    def done(self) -> None:
        """The turn's text has ended."""
        self.flush()
        self._cutter = TextCutter()
        if self._turn is not None or self._pieces:
            self._put(Piece("", self._speaker, ends_turn=True))

    async def cancel(self, played_s: float | None = None) -> Event:
        """Stops at once; what was heard stays in the conversation.

        Args:
            played_s: of the turn's sound, as the client played it; all that was sent if not given.
        """
        self._pieces.clear()
        self._num_pending = 0
        self._cutter = TextCutter()
        self._is_cancelling = True
        try:
            if self._speaking is not None:
                self._speaking.cancel()
            await self._is_idle.wait()
        finally:
            self._is_cancelling = False
        turn, self._turn = self._turn, None
        self._lead = self._server.lead(self._speed)
        if turn is None:
            return {"type": "cancelled", "heard_s": 0.0, "text": ""}
        heard_s = turn.sent_s if played_s is None else min(max(0.0, played_s), turn.sent_s)
        self._exchange.forget((turn.sent_s - heard_s) * self._speed)
        return {"type": "cancelled", "heard_s": round(heard_s, 3), "text": turn.text_until(heard_s)}

    def close(self) -> None:
        """Ends `run` when all has been spoken."""
        self._is_closed = True
        self._has_work.set()

    # --- Speaking -------------------------------------------------------------------------------

    async def run(self) -> None:
        """Speaks until it is closed. An error ends its turn, and the context goes on."""
        while (piece := await self._next()) is not None:
            try:
                await self._speak(piece)
            except Exception as error:
                self._turn, self._lead = None, self._server.lead(self._speed)
                await self._outlet.event({"type": "error", "error": body_of(as_api_error(error))})
            finally:
                self._is_idle.set()

    async def _next(self) -> Piece | None:
        """The next piece; after a writer's pause, the words that there are."""
        while not self._pieces and not self._is_closed:
            self._has_work = anyio.Event()
            with anyio.move_on_after(self._limits.pause_s):
                await self._has_work.wait()
            if not self._pieces and not self._is_closed:
                self._queue(self._cutter.pause())
        if not self._pieces:
            return None
        piece = self._pieces.popleft()
        self._num_pending -= len(piece.text)
        self._is_idle = anyio.Event()
        return piece

    async def _speak(self, piece: Piece) -> None:
        with anyio.CancelScope() as self._speaking:
            try:
                if piece.text:
                    await self._say(piece)
                if piece.ends_turn:
                    await self._end_turn()
            finally:
                self._speaking = None

    async def _say(self, piece: Piece) -> None:
        turn = await self._turn_of(piece.speaker)
        said = SpokenPiece(piece.text, turn.sent_s)
        turn.pieces.append(said)
        is_awaited = turn.sent_s == 0.0 and not self._lead.spare_s()
        # Text that comes late is nobody's gap here, but what was saved is heard meanwhile.
        turn.reserve.waited(time.perf_counter() - turn.paused)
        stream = self._exchange.stream(piece.text, piece.speaker, self._lead)
        start = self._server.counted("live", lambda: stream, turn.reserve)
        reader = ChunkReader(start(), self._server.limiter)
        try:
            while (chunk := await reader.next()) is not None:
                if is_awaited and turn.sent_s == 0.0 and chunk.audio.shape[0]:
                    self._server.metrics.first_audio.observe(time.perf_counter() - turn.began)
                # NOTE: counted before it is sent: a part of it may have left when it is cancelled.
                turn.sent_s += chunk.audio.shape[0] / OUTPUT_RATE_HZ / self._speed
                await self._send(turn.track.push(chunk.audio.numpy()))
        finally:
            await reader.close()
            turn.paused = time.perf_counter()
        said.end_s = turn.sent_s
        event = {"type": "text.spoken", "text": piece.text, "speaker": piece.speaker}
        await self._outlet.event(event | {"start_s": _s(said.begin_s), "end_s": _s(said.end_s)})

    async def _turn_of(self, speaker: str) -> LiveTurn:
        if self._turn is not None and self._turn.speaker != speaker:
            await self._end_turn()
        if self._turn is None:
            self._turn = LiveTurn(speaker, self._new_track(), Reserve(self._speed))
            await self._outlet.event({"type": "turn.started", "speaker": speaker})
        return self._turn

    async def _end_turn(self) -> None:
        turn, self._turn = self._turn, None
        if turn is not None:
            await self._send(turn.track.end())
            event = {"type": "turn.done", "speaker": turn.speaker, "seconds": _s(turn.sent_s)}
            await self._outlet.event(event)

    async def _send(self, data: bytes) -> None:
        if data:
            await self._outlet.sound(data)

    # --- The queue ------------------------------------------------------------------------------

    @property
    def _limit(self) -> int:
        return self._limits.max_pending_characters

    def _queue(self, texts: list[str]) -> None:
        for text in texts:
            if is_speakable(text):
                self._put(Piece(text, self._speaker))

    def _put(self, piece: Piece) -> None:
        self._pieces.append(piece)
        self._num_pending += len(piece.text)
        self._has_work.set()


def _s(seconds: float) -> float:
    return round(seconds, 3)
