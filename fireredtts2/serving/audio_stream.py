"""Chunks of audio to the bytes of a response: one encoder a response, nothing held back."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncGenerator, Callable, Iterator
from typing import Any, TypeVar

import anyio
import anyio.to_thread
import numpy as np
from fastapi.responses import StreamingResponse
from starlette.types import Receive, Scope, Send

from fireredtts2.audio_writer import AudioStreamWriter
from fireredtts2.config import OUTPUT_RATE_HZ
from fireredtts2.serving.errors import as_api_error, body_of
from fireredtts2.serving.marking import marked
from fireredtts2.serving.schemas import ResponseFormat
from fireredtts2.serving.tempo import Tempo
from fireredtts2.speech import AudioChunk
from fireredtts2.watermark import Marker

MEDIA_TYPES: dict[ResponseFormat, str] = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": f"audio/pcm;rate={OUTPUT_RATE_HZ}",
}
Result = TypeVar("Result")
Marks = Callable[[], list[dict[str, Any]]]


class Spool:
    """A sink whose bytes are taken as they come. It cannot seek: a response is a pipe."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._parts.append(bytes(data))
        return len(data)

    def seekable(self) -> bool:
        return False

    def take(self) -> bytes:
        data = b"".join(self._parts)
        self._parts.clear()
        return data


class ChunkReader:
    """Reads a generator of chunks in threads, of which there are no more than may listen.

    A chunk may take a step of the engine, or many where others wait too, and the event loop must
    not stand still meanwhile.

    Args:
        chunks: what is read; it is closed at the end, which frees the engine's slot.
        limiter: how many read at once.
    """

    def __init__(self, chunks: Iterator[AudioChunk], limiter: anyio.CapacityLimiter) -> None:
        self._chunks = chunks
        self._limiter = limiter

    async def next(self) -> AudioChunk | None:
        """The next chunk; None at the end."""
        return await self._in_thread(lambda: next(self._chunks, None))

    async def close(self) -> None:
        """Stops what is made, also when the caller is being cancelled."""
        with anyio.CancelScope(shield=True):
            close = getattr(self._chunks, "close", None)
            if close is not None:
                await self._in_thread(close)

    async def _in_thread(self, call: Callable[[], Result]) -> Result:
        # NOTE: not abandoned when the client goes: two threads must not read one generator.
        return await anyio.to_thread.run_sync(call, limiter=self._limiter)


async def encoded(
    first: AudioChunk | None,
    reader: ChunkReader,
    format: ResponseFormat,
    speed: float,
    marker: Marker | None = None,
) -> AsyncGenerator[bytes, None]:
    """A response's bytes: what there is as soon as it is there.

    Args:
        first: a chunk that was read before, to see whether there are any.
        reader: the others.
        format: of the bytes.
        speed: 1 as it was spoken.
        marker: of this response's watermark.
    """
    spool = Spool()
    tempo = None if speed == 1.0 else Tempo(speed, OUTPUT_RATE_HZ)
    try:
        # The sink is ours: of what is written to it, nothing can fail.
        writer = AudioStreamWriter(format, OUTPUT_RATE_HZ, spool)  # type: ignore[arg-type]
        chunk = first
        while chunk is not None:
            audio = chunk.audio.numpy()
            writer.write(marked(audio if tempo is None else tempo.push(audio), marker))
            if data := spool.take():
                yield data
            chunk = await reader.next()
        rest = np.zeros(0, np.float32) if tempo is None else tempo.flush()
        writer.write(marked(rest, marker, is_last=True))
        writer.close()
        if data := spool.take():
            yield data
    finally:
        await reader.close()


class SoundResponse(StreamingResponse):
    """A streamed answer whose generator is closed at once when the listener goes, not some time."""

    def __init__(self, pieces: AsyncGenerator[bytes, None], media_type: str) -> None:
        super().__init__(pieces, media_type=media_type)
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            with anyio.CancelScope(shield=True):
                await self._pieces.aclose()


async def as_events(
    pieces: AsyncGenerator[bytes, None], marks: Marks = list
) -> AsyncGenerator[bytes, None]:
    """The same as server-sent events of OpenAI's kinds; `marks` gives others that are due."""
    try:
        async for piece in pieces:
            for mark in marks():
                yield event(mark)
            yield event({"type": "speech.audio.delta", "audio": base64.b64encode(piece).decode()})
    except Exception as error:  # the status was sent long ago: say it in the stream
        yield event({"type": "error", "error": body_of(as_api_error(error))})
        return
    finally:
        await pieces.aclose()
    for mark in marks():
        yield event(mark)
    yield event({"type": "speech.audio.done"})


def event(body: dict[str, object]) -> bytes:
    return f"data: {json.dumps(body)}\n\n".encode()
