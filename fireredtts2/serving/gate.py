"""The door of the API: who asks is known, and may, before anything of the request is read."""

from __future__ import annotations

import contextlib
import re

from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Receive, Scope, Send

from fireredtts2.serving import errors
from fireredtts2.serving.errors import ApiError, shutting_down
from fireredtts2.serving.keys import CLIENT, Client
from fireredtts2.serving.server import Server

GUARDED = re.compile(r"/v1(/|$)")
SPOKEN = re.compile(r"/v1/(audio|text-to-speech)/")
POLICY_VIOLATION, TRY_AGAIN_LATER = 1008, 1013


class Gate:
    """Middleware: keys, rates, streams at once, and no new requests while the server stops.

    Args:
        app: what lies behind.
        server: whose keys and rates these are.
    """

    def __init__(self, app: ASGIApp, server: Server) -> None:
        self.app, self.server = app, server

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or not GUARDED.match(scope["path"]):
            await self.app(scope, receive, send)
            return
        with contextlib.ExitStack() as held:
            try:
                client = self._admit(scope, held)
            except ApiError as error:
                self.server.metrics.refusals.labels(str(error.code or error.kind)).inc()
                await refuse(error, scope, receive, send)
                return
            token = CLIENT.set(client)
            held.callback(CLIENT.reset, token)
            await self.app(scope, receive, send)

    def _admit(self, scope: Scope, held: contextlib.ExitStack) -> Client:
        server = self.server
        if server.is_draining:
            raise shutting_down()
        client = server.client(HTTPConnection(scope))
        server.rates.take(client, "requests_per_minute")
        is_spoken = scope["type"] == "websocket" or bool(SPOKEN.match(scope["path"]))
        if is_spoken:
            held.enter_context(server.rates.stream(client))
        held.enter_context(server.under_way())
        return client


async def refuse(error: ApiError, scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with an error, a WebSocket's opening too where the server can."""
    if scope["type"] == "http":
        await errors.response(error)(scope, receive, send)
    elif "websocket.http.response" in scope.get("extensions", {}):
        await receive()  # the opening, which has to be taken first
        # NOTE: a WebSocket's scope: Starlette then gives the messages the names that belong there.
        await errors.response(error)(scope, receive, send)
    else:
        await receive()
        code = TRY_AGAIN_LATER if error.status in (429, 503) else POLICY_VIOLATION
        await send({"type": "websocket.close", "code": code, "reason": error.message[:100]})
