"""One request of an application in this process, whose answer is read while it is made."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from starlette.types import ASGIApp, Message

#: What may lie unread; the application waits then, as for a slow client.
MAX_PIECE_BYTES = 512 * 1024


class Exchange:
    """A POST with a JSON body, and its answer.

    Args:
        app: that answers.
        path: of the route.
        body: JSON.
    """

    def __init__(self, app: ASGIApp, path: str, body: bytes) -> None:
        self.app, self.path, self.body = app, path, body
        self.status: int | None = None
        self._unread = bytearray()
        self._has_ended = False
        self._changed, self._has_room = asyncio.Event(), asyncio.Event()
        self._asked = False
        self._gone = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> int:
        """Sends the request and waits for the status of the answer."""
        self._task = asyncio.create_task(self._run())
        while self.status is None and not self._has_ended:
            await self._change()
        if self.status is None:
            await self._task  # raises what went wrong
            raise RuntimeError(f"{self.path} ended without an answer")
        return self.status

    async def pieces(self) -> AsyncIterator[bytes]:
        """The answer: whenever there is something, all there is.

        Raises:
            Exception: that of the application, when it broke off.
        """
        while not self._has_ended or self._unread:
            if self._unread:
                piece = bytes(self._unread[:MAX_PIECE_BYTES])
                del self._unread[:MAX_PIECE_BYTES]
                self._has_room.set()
                yield piece
            else:
                await self._change()
        if self._task is not None:
            await self._task

    async def close(self) -> None:
        """Ends the request, also in its middle: what is made for it stops."""
        self._gone.set()
        if self._task is None:
            return
        self._task.cancel()
        await asyncio.wait([self._task])
        if not self._task.cancelled():
            self._task.exception()  # looked at: who closes does not care how it ended

    async def _run(self) -> None:
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": "POST",
            "scheme": "http",
            "path": self.path,
            "raw_path": self.path.encode(),
            "root_path": "",
            "query_string": b"",
            "headers": [
                (b"host", b"localhost"),
                (b"content-type", b"application/json"),
                (b"content-length", str(len(self.body)).encode()),
            ],
            "client": ("127.0.0.1", 0),
            "server": ("localhost", 80),
        }
        try:
            await self.app(scope, self._receive, self._send)
        finally:
            self._has_ended = True
            self._changed.set()

    async def _receive(self) -> Message:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": self.body, "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
        elif message["type"] == "http.response.body":
            self._unread += message.get("body", b"")
        self._changed.set()
        while len(self._unread) >= MAX_PIECE_BYTES:
            self._has_room.clear()
            await self._has_room.wait()

    async def _change(self) -> None:
        await self._changed.wait()
        self._changed.clear()
