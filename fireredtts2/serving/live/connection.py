"""A live connection: messages to contexts, and what they say back to the client."""

from __future__ import annotations

import base64
import contextlib
from dataclasses import dataclass

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup
from starlette.websockets import WebSocket, WebSocketDisconnect

from fireredtts2.serving.errors import ApiError, as_api_error, body_of
from fireredtts2.serving.keys import CLIENT
from fireredtts2.serving.live.context import Event, LiveContext
from fireredtts2.serving.live.limits import LiveLimits
from fireredtts2.serving.live.messages import (
    Cancel,
    CloseContext,
    Configure,
    InputDone,
    InputFlush,
    InputText,
    Message,
    read_message,
    received,
)
from fireredtts2.serving.live.voice_track import VoiceTrack
from fireredtts2.serving.server import Server
from fireredtts2.serving.sessions import Session

POLICY_VIOLATION, NORMAL, GOING_AWAY = 1008, 1000, 1001
IDLE_LOOK_S = 1.0
#: What sending raises when either side has closed: no error of ours; `receive` tells of it.
CLOSED = (RuntimeError, WebSocketDisconnect)


@dataclass
class ContextOutlet:
    """Sends one context's sound and events, marked with its id."""

    connection: LiveConnection
    context_id: str
    is_binary: bool

    async def event(self, event: Event) -> None:
        await self.connection.send_event({**event, "context_id": self.context_id})

    async def sound(self, data: bytes) -> None:
        if self.is_binary:
            name = self.context_id.encode()
            await self.connection.send_bytes(bytes([len(name)]) + name + data)
        else:
            audio = base64.b64encode(data).decode()
            await self.event({"type": "audio", "audio": audio})


class LiveConnection:
    """One WebSocket of `/v1/audio/speech/stream`.

    Args:
        server: whose model speaks.
        socket: accepted already.
    """

    def __init__(self, server: Server, socket: WebSocket) -> None:
        self._server, self._socket = server, socket
        self._limits: LiveLimits = server.config.live
        self._contexts: dict[str, LiveContext] = {}
        self._sending = anyio.Lock()
        self._num_errors = 0

    async def run(self) -> None:
        """Serves the connection until either side closes it."""
        async with anyio.create_task_group() as tasks:
            try:
                await self._receive(tasks)
            except WebSocketDisconnect:
                pass
            finally:
                tasks.cancel_scope.cancel()

    # --- Out ------------------------------------------------------------------------------------

    async def send_event(self, event: Event) -> None:
        """Sends JSON; waits while the client takes nothing, so that nothing piles up here."""
        async with self._sending:
            with contextlib.suppress(*CLOSED):
                await self._socket.send_json(event)

    async def send_bytes(self, data: bytes) -> None:
        """Sends sound."""
        async with self._sending:
            with contextlib.suppress(*CLOSED):
                await self._socket.send_bytes(data)

    async def _close(self, code: int, reason: str) -> None:
        await self.send_event({"type": "session.closed", "reason": reason})
        with contextlib.suppress(*CLOSED):
            await self._socket.close(code, reason)

    # --- In -------------------------------------------------------------------------------------

    async def _receive(self, tasks: TaskGroup) -> None:
        await self.send_event({"type": "session.created"})
        idle_s = 0.0
        while True:
            text: str | bytes | None = None
            with anyio.move_on_after(IDLE_LOOK_S) as waited:
                text = await received(self._socket)
            if waited.cancelled_caught:
                is_idle = all(context.is_idle for context in self._contexts.values())
                idle_s = idle_s + IDLE_LOOK_S if is_idle else 0.0
                if self._server.is_draining and is_idle:
                    return await self._close(GOING_AWAY, "the server is shutting down")
                if idle_s >= self._limits.idle_timeout_s:
                    return await self._close(NORMAL, "nothing was sent for too long")
                continue
            idle_s = 0.0
            assert text is not None
            if not await self._answered(text, tasks):
                return await self._close(POLICY_VIOLATION, "too many bad messages")

    async def _answered(self, text: str | bytes, tasks: TaskGroup) -> bool:
        """Does what a message asks; whether the connection may go on."""
        context_id = ""
        try:
            if len(text) > self._limits.max_message_characters:
                raise ApiError(413, f"a message of {len(text)} characters; at most "
                               f"{self._limits.max_message_characters} are taken")  # fmt: skip
            message = read_message(text)
            context_id = message.context_id
            await self._do(message, tasks)
        except Exception as error:
            self._num_errors += 1
            answer = {"type": "error", "error": body_of(as_api_error(error))}
            await self.send_event({**answer, "context_id": context_id})
        return self._num_errors <= self._limits.max_errors

    async def _do(self, message: Message, tasks: TaskGroup) -> None:
        if isinstance(message, Configure):
            await self._configure(message, tasks)
            return
        context = self._contexts.get(message.context_id)
        if isinstance(message, InputText):
            self._server.check_length(message.text)
            if context is None:
                context = await self._configure(
                    Configure.model_validate(
                        {"type": "session.config", "context_id": message.context_id}
                    ),
                    tasks,
                )
            context.text(message.text, message.speaker)
        elif context is None:
            raise ApiError(404, f"no context {message.context_id!r}", code="context_not_found",
                           param="context_id")  # fmt: skip
        elif isinstance(message, InputFlush):
            context.flush()
        elif isinstance(message, InputDone):
            context.done()
        elif isinstance(message, Cancel):
            event = await context.cancel(message.played_s)
            await self.send_event({**event, "context_id": message.context_id})
        elif isinstance(message, CloseContext):
            context.done()
            context.close()

    async def _configure(self, asked: Configure, tasks: TaskGroup) -> LiveContext:
        if asked.context_id in self._contexts:
            raise ApiError(409, f"context {asked.context_id!r} is there already: configure it "
                           "before its first text, or use another id", code="context_exists",
                           param="context_id")  # fmt: skip
        if len(self._contexts) >= self._limits.max_contexts:
            raise ApiError(429, f"{self._limits.max_contexts} contexts are open, which is as many "
                           "as may be; close one", "rate_limit_error",
                           "too_many_contexts")  # fmt: skip
        session = await anyio.to_thread.run_sync(self._session, asked)
        outlet = ContextOutlet(self, asked.context_id, asked.audio == "binary")
        context = LiveContext(
            self._server,
            session.exchange,
            outlet,
            lambda: VoiceTrack(asked.format, asked.speed, marker=self._server.marker()),
            self._limits,
            asked.speed,
        )
        self._contexts[asked.context_id] = context
        tasks.start_soon(self._run_context, asked.context_id, context)
        about = {"type": "context.created", "session_id": session.id, "voices": session.voices}
        await self.send_event({**about, "context_id": asked.context_id, "format": asked.format})
        return context

    def _session(self, asked: Configure) -> Session:
        """The session that is named, or a new one."""
        if asked.session_id is not None:
            if asked.voice or asked.voices:
                raise ApiError(400, "a session has its voices already", param="voices")
            return self._server.sessions.get(CLIENT.get().id, asked.session_id)
        voices = {str(speaker): name for speaker, name in asked.voices.items()}
        if asked.voice is not None:
            voices.setdefault("S1", asked.voice)
        return self._server.new_session(voices, asked.given())

    async def _run_context(self, context_id: str, context: LiveContext) -> None:
        await context.run()
        self._contexts.pop(context_id, None)
        await self.send_event({"type": "context.closed", "context_id": context_id})
