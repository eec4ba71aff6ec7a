"""Bodies: how large, how deep and how slow they may be, seen while they are read."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass

import anyio
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fireredtts2.serving import errors
from fireredtts2.serving.errors import ApiError
from fireredtts2.serving.limits import Limits

SIGNS = re.compile(rb'["\\\[\]{}]')
#: Looking at these takes some tenths of a second; no request has as many.
MAX_SIGNS = 500_000


class BodyLimit:
    """Middleware: what is too large, too deep or too slow is not read to its end.

    Args:
        app: what lies behind.
        limits: of the server.
        exempt: paths of another part, which has limits of its own.
    """

    def __init__(self, app: ASGIApp, limits: Limits, exempt: re.Pattern[str] | None = None) -> None:
        self.app, self.limits, self.exempt = app, limits, exempt

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_exempt = self.exempt is not None and self.exempt.fullmatch(scope.get("path", ""))
        if scope["type"] != "http" or is_exempt:
            await self.app(scope, receive, send)
            return
        body = Body(self.limits, Headers(scope=scope), receive, send)
        try:
            body.check_announced()
            await self.app(scope, body.receive, body.send)
        except Exception:
            if body.refusal is None or body.has_answered:
                raise
        # NOTE: whatever the application made of the error that its `receive` raised.
        if body.refusal is not None and not body.has_answered:
            refused = errors.response(body.refusal)
            refused.headers["connection"] = "close"
            await refused(scope, receive, send)


class Body:
    """One request's body on its way in."""

    def __init__(self, limits: Limits, headers: Headers, receive: Receive, send: Send) -> None:
        self.limits, self.headers = limits, headers
        self.refusal: ApiError | None = None
        self.has_answered = False
        self._receive, self._send = receive, send
        self._num_bytes, self._is_whole = 0, False
        self._ends_at = time.monotonic() + limits.max_body_s
        is_form = headers.get("content-type", "").startswith("multipart/")
        self._depth = None if is_form else JsonDepth(limits.max_json_depth)

    def check_announced(self) -> None:
        """Raises ApiError if more is announced than may be sent."""
        announced = self.headers.get("content-length", "")
        if announced.isdecimal() and int(announced[:20]) > self.limits.max_body_bytes:
            raise self._refused(self._too_large())

    async def receive(self) -> Message:
        """The next message, counted and timed while the body lasts."""
        if self._is_whole:
            return await self._receive()
        left_s = self._ends_at - time.monotonic()
        try:
            with anyio.fail_after(max(0.0, min(self.limits.body_timeout_s, left_s))):
                message = await self._receive()
        except TimeoutError:
            raise self._refused(
                ApiError(408, "the request's body came too slowly or not at all", code="too_slow")
            ) from None
        self._look_at(message)
        return message

    async def send(self, message: Message) -> None:
        """Passes an answer on, unless another one is due."""
        if self.refusal is None or self.has_answered:
            self.has_answered = True
            await self._send(message)

    def _look_at(self, message: Message) -> None:
        part = message.get("body", b"")
        self._num_bytes += len(part)
        self._is_whole = not message.get("more_body", False)
        if self._num_bytes > self.limits.max_body_bytes:
            raise self._refused(self._too_large())
        if self._depth is not None and not self._depth.holds(part):
            limit = self.limits.max_json_depth
            raise self._refused(
                ApiError(400, f"the body is nested too deeply; at most {limit} levels are read")
            )

    def _too_large(self) -> ApiError:
        limit = self.limits.max_body_bytes
        return ApiError(413, f"the body is too large; at most {limit} bytes are taken")

    def _refused(self, error: ApiError) -> ApiError:
        self.refusal = error
        return error


@dataclass
class JsonDepth:
    """Follows how deep JSON is nested, in pieces as they come."""

    max_depth: int
    depth: int = 0
    num_signs: int = 0
    in_string: bool = False
    escaped_at: int = -1  # where an escaped byte stands in this piece

    def holds(self, piece: bytes) -> bool:
        """Whether it still is shallow and simple enough."""
        for found in SIGNS.finditer(piece):
            at, sign = found.start(), found.group()
            self.num_signs += 1
            if at == self.escaped_at:
                continue
            if sign == b"\\":
                self.escaped_at = at + 1 if self.in_string else -1
            elif sign == b'"':
                self.in_string = not self.in_string
            elif not self.in_string:
                self.depth += 1 if sign in b"[{" else -1
            if self.depth > self.max_depth or self.num_signs > MAX_SIGNS:
                return False
        # An escape may end a piece: the next one's first byte belongs to it.
        self.escaped_at = 0 if self.escaped_at == len(piece) and piece else -1
        return True
