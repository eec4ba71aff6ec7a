"""Conversations."""

from __future__ import annotations

from fastapi import APIRouter, Request
from fastapi.responses import Response, StreamingResponse

from fireredtts2.serving.bundle import bundled
from fireredtts2.serving.schemas import DialogueRequest
from fireredtts2.serving.server import Server
from fireredtts2.serving.session_dialogue import session_dialogue
from fireredtts2.serving.turn_marks import TurnMarks


def dialogue_routes(server: Server) -> APIRouter:
    """Conversations."""
    router = APIRouter(tags=["speech"])

    @router.post("/audio/dialogue", response_class=StreamingResponse)
    async def dialogue(asked: DialogueRequest, request: Request) -> Response:
        """A conversation of up to four voices, streamed while it is made; with `return` a ZIP."""
        is_new = asked.session_id is None
        script, start = server.dialogue(asked) if is_new else session_dialogue(server, asked)
        if asked.returns is not None:
            counted = server.counted("dialogue", start)
            limiter, marker = server.limiter, server.marker
            return await bundled(request, asked, script, counted, limiter, marker)
        marks = TurnMarks(script.turns, asked.speed)
        return await server.answer("dialogue", lambda: marks.watched(start()), asked, marks.take)

    return router
