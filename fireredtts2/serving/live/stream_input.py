"""ElevenLabs' stream-input protocol: one context in one voice, sound as base64 in JSON."""

from __future__ import annotations

import base64
import contextlib
import json
from dataclasses import dataclass
from typing import Any

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup
from starlette.websockets import WebSocket, WebSocketDisconnect

from fireredtts2.config import OUTPUT_RATE_HZ
from fireredtts2.serving.errors import ApiError, as_api_error, body_of
from fireredtts2.serving.live.context import Event, LiveContext
from fireredtts2.serving.live.messages import BINARY, received
from fireredtts2.serving.live.voice_track import VoiceTrack
from fireredtts2.serving.schemas import ResponseFormat
from fireredtts2.serving.server import Server

FORMATS: dict[str, ResponseFormat] = {"mp3": "mp3", "pcm": "pcm", "opus": "opus"}
PCM_RATES_HZ = (8_000, 16_000, 22_050, 24_000, 44_100, 48_000)
NORMAL, POLICY_VIOLATION = 1000, 1008
MAX_REASON = 100  # characters; the protocol has room for 123 bytes


@dataclass(frozen=True)
class OutputFormat:
    """Theirs as ours: an encoding and, of bare samples, their rate."""

    format: ResponseFormat
    rate_hz: int = OUTPUT_RATE_HZ

    @classmethod
    def of(cls, name: str) -> OutputFormat:
        """Of a name like "pcm_16000" or "mp3_44100_128".

        An MP3 or Opus stream says its own rate; the one that is asked for is not used.

        Raises:
            ApiError: it is not made here.
        """
        kind, _, rest = name.partition("_")
        rate = rest.partition("_")[0]
        known = kind in FORMATS and rate.isdecimal()
        if not known or (kind == "pcm" and int(rate) not in PCM_RATES_HZ):
            rates = ", ".join(f"pcm_{rate_hz}" for rate_hz in PCM_RATES_HZ)
            raise ApiError(400, f"output_format {name[:40]!r}; allowed: {rates}, mp3_* and opus_*",
                           param="output_format")  # fmt: skip
        return cls(FORMATS[kind], int(rate) if kind == "pcm" else OUTPUT_RATE_HZ)


def response_format(name: str) -> ResponseFormat:
    """The encoding of an answer by HTTP, where samples have our own rate.

    Raises:
        ApiError: it is not made here.
    """
    asked = OutputFormat.of(name)
    if asked.rate_hz != OUTPUT_RATE_HZ:
        raise ApiError(400, f"output_format {name!r}: by HTTP samples are pcm_{OUTPUT_RATE_HZ}; "
                       "other rates by the WebSocket", param="output_format")  # fmt: skip
    return asked.format


class StreamInput:
    """One connection.

    Args:
        server: whose model speaks.
        socket: accepted already.
        voice: a name.
        output_format: a name of theirs.
    """

    def __init__(self, server: Server, socket: WebSocket, voice: str, output_format: str) -> None:
        self._server, self._socket = server, socket
        self._voice, self._output_format = voice, output_format
        self._has_ended = False

    async def run(self) -> None:
        """Speaks what comes until the text has ended, and closes the connection."""
        try:
            context = await self._context()
        except Exception as error:
            return await self._fail(error)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._speak, context, tasks)
            try:
                await self._receive(context)
            except WebSocketDisconnect:
                tasks.cancel_scope.cancel()
            except Exception as error:
                await self._fail(error)
                tasks.cancel_scope.cancel()
        return None

    async def _speak(self, context: LiveContext, tasks: TaskGroup) -> None:
        await context.run()
        if not self._has_ended:
            await self._send({"audio": None, "isFinal": True})
            await self._end(NORMAL)
        tasks.cancel_scope.cancel()

    async def _context(self) -> LiveContext:
        output = OutputFormat.of(self._output_format)
        voices = {"S1": self._voice}
        session = await anyio.to_thread.run_sync(self._server.new_session, voices, {})
        return LiveContext(
            self._server,
            session.exchange,
            self,
            lambda: VoiceTrack(output.format, rate_hz=output.rate_hz, marker=self._server.marker()),
            self._server.config.live,
        )

    async def _receive(self, context: LiveContext) -> None:
        while True:
            with anyio.fail_after(self._server.config.live.idle_timeout_s):
                message = read(await received(self._socket))
            text = message["text"]
            if text == "":  # the end, as their protocol has it
                context.done()
                context.close()
                return
            self._server.check_length(text)
            context.text(text)
            if message.get("flush") or message.get("try_trigger_generation"):
                context.flush()

    async def _fail(self, error: Exception) -> None:
        await self.event({"type": "error", "error": body_of(as_api_error(error))})

    async def _send(self, answer: dict[str, Any]) -> None:
        with contextlib.suppress(RuntimeError, WebSocketDisconnect):  # it has been closed
            await self._socket.send_json(answer)

    async def _end(self, code: int, reason: str = "") -> None:
        self._has_ended = True
        with contextlib.suppress(RuntimeError, WebSocketDisconnect):
            await self._socket.close(code, reason[:MAX_REASON])

    # --- Where the context's sound and events go --------------------------------------------------

    async def event(self, event: Event) -> None:
        """Of events their protocol has errors alone, which end the connection."""
        if event["type"] == "error" and not self._has_ended:
            told = event["error"]
            await self._send({**told, "error": told["code"] or told["type"]})
            await self._end(POLICY_VIOLATION, told["message"])

    async def sound(self, data: bytes) -> None:
        """Sends a piece."""
        audio = base64.b64encode(data).decode()
        empty = {"alignment": None, "normalizedAlignment": None}
        await self._send({"audio": audio, "isFinal": False, **empty})


def read(text: str | bytes) -> dict[str, Any]:
    """A message of theirs.

    Raises:
        ApiError: it is none.
    """
    if isinstance(text, bytes):
        raise ApiError(400, BINARY, code="bad_message")
    try:
        message = json.loads(text)
    except (ValueError, RecursionError):
        message = None
    if not isinstance(message, dict) or not isinstance(message.get("text"), str):
        raise ApiError(400, 'a message must be JSON with a "text"', code="bad_message")
    return message
