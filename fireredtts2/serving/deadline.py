"""The longest time that a request may take."""

from __future__ import annotations

import anyio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fireredtts2.serving import errors
from fireredtts2.serving.errors import ApiError


class Deadline:
    """Middleware: ends what takes too long.

    Args:
        app: what lies behind.
        max_s: for a request with its answer; WebSockets have limits of their own.
    """

    def __init__(self, app: ASGIApp, max_s: float) -> None:
        self.app, self.max_s = app, max_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        has_answered = False

        async def noted(message: Message) -> None:
            nonlocal has_answered
            has_answered = True
            await send(message)

        with anyio.move_on_after(self.max_s) as time_left:
            await self.app(scope, receive, noted)
        if not time_left.cancelled_caught:
            return
        message = f"the request took longer than {self.max_s:g} s"
        if has_answered:  # what was sent must not look whole
            raise TimeoutError(message)
        await errors.response(ApiError(504, message, "server_error", "timeout"))(
            scope, receive, send
        )
