"""Sessions: conversations that last."""

from __future__ import annotations

from typing import Annotated

import anyio.to_thread
from fastapi import APIRouter
from pydantic import ConfigDict, Field

from fireredtts2.serving.keys import CLIENT
from fireredtts2.serving.schemas import Manner
from fireredtts2.serving.server import Server


class SessionRequest(Manner):
    """A new conversation."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"voices": {"S1": "af_heart"}, "seed": 7}]},
    )

    voices: Annotated[dict[str, str], Field(max_length=4)] = Field(
        default_factory=dict, description="voices by speaker, S1 to S4; others may come later"
    )
    model: str = "fireredtts2"


def session_routes(server: Server) -> APIRouter:
    """Sessions: made, looked at, ended."""
    router = APIRouter(prefix="/sessions", tags=["sessions"])

    @router.post("", status_code=201)
    async def add(asked: SessionRequest) -> dict[str, object]:
        """A conversation; `session_id` of `POST /v1/audio/speech` and `dialogue` speaks in it."""
        values = {**asked.given(), "adapter": server.adapter_of(asked.model)}
        session = await anyio.to_thread.run_sync(server.new_session, asked.voices, values)
        return session.about()

    @router.get("")
    async def sessions() -> dict[str, object]:
        """Those of this client."""
        found = server.sessions.find(CLIENT.get().id)
        return {"object": "list", "data": [session.about() for session in found]}

    @router.get("/{session_id}")
    async def show(session_id: str) -> dict[str, object]:
        """One of them."""
        return server.sessions.look(CLIENT.get().id, session_id).about()

    @router.delete("/{session_id}", status_code=204)
    async def remove(session_id: str) -> None:
        """Ends it; what it remembers is gone."""
        server.sessions.delete(CLIENT.get().id, session_id)

    return router
