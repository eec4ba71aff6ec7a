"""Speech: OpenAI's route."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import StreamingResponse

from fireredtts2.serving.schemas import SpeechRequest
from fireredtts2.serving.server import Server

#: Names of models that clients send; all of them mean the one that is loaded.
MODEL_NAMES = ("fireredtts2", "tts-1", "tts-1-hd", "gpt-4o-mini-tts")


def speech_routes(server: Server) -> APIRouter:
    """Speech: OpenAI's route."""
    router = APIRouter(tags=["speech"])

    @router.post("/audio/speech", response_class=StreamingResponse)
    async def speech(asked: SpeechRequest) -> StreamingResponse:
        """One text in one voice, streamed while it is made."""
        return await server.answer("speech", server.speech(asked), asked)

    @router.get("/models")
    async def models() -> dict[str, object]:
        """What `model` may be: the model that is loaded, or one of its adapters."""
        listed = [
            {"id": name, "object": "model", "created": 0, "owned_by": "fireredtts2"}
            for name in (*MODEL_NAMES, *server.tts.studio.adapters)
        ]
        return {"object": "list", "data": listed}

    return router
