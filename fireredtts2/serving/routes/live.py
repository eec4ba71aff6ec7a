"""Speech while its text is still being written, over a WebSocket."""

from __future__ import annotations

from fastapi import APIRouter
from starlette.websockets import WebSocket

from fireredtts2.serving.keys import SUBPROTOCOL
from fireredtts2.serving.live.connection import LiveConnection
from fireredtts2.serving.server import Server


def live_routes(server: Server) -> APIRouter:
    """The live connection; docs/clients/websocket.md has its messages."""
    router = APIRouter(tags=["live"])

    @router.websocket("/audio/speech/stream")
    async def live(socket: WebSocket) -> None:
        offered = socket.scope.get("subprotocols", [])
        await socket.accept(SUBPROTOCOL if SUBPROTOCOL in offered else None)
        await LiveConnection(server, socket).run()

    return router
