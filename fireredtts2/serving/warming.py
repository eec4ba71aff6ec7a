"""An application that answers while the model is being loaded, as load balancers expect."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextlib import AsyncExitStack

from fastapi import FastAPI
from fastapi.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from fireredtts2.serving import errors
from fireredtts2.serving.errors import RETRY_AFTER_S, ApiError

logger = logging.getLogger(__name__)
#: WebSocket's "try again later".
TRY_AGAIN_LATER = 1013


class WarmingApp:
    """Stands for an application until it is there, then hands everything to it.

    Until then `/ping` is 204, `/health` 200, and all else 503 with Retry-After.

    Args:
        load: makes the application; called once, in a thread.
        on_failure: called with what went wrong when it could not.
    """

    def __init__(
        self, load: Callable[[], FastAPI], on_failure: Callable[[BaseException], None]
    ) -> None:
        self._load, self._on_failure = load, on_failure
        self._app: FastAPI | None = None
        self._lifespan = AsyncExitStack()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif self._app is not None:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": TRY_AGAIN_LATER})
        else:
            await meanwhile(scope["path"])(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        loading = asyncio.create_task(self._warm())
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await loading
        await self._lifespan.aclose()
        await send({"type": "lifespan.shutdown.complete"})

    async def _warm(self) -> None:
        try:
            app = await asyncio.to_thread(self._load)
            await self._lifespan.enter_async_context(app.router.lifespan_context(app))
        except Exception as error:
            logger.exception("the model could not be loaded")
            self._on_failure(error)
        else:
            self._app = app


def meanwhile(path: str) -> Response:
    """The answer while there is no model yet."""
    if path == "/ping":
        return Response(status_code=204)
    if path == "/health":
        return JSONResponse({"status": "loading"})
    answer = errors.response(ApiError(503, "the model is being loaded", "server_error"))
    answer.headers["Retry-After"] = str(RETRY_AFTER_S)
    return answer
