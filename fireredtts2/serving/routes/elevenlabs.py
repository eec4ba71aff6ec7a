"""ElevenLabs' streaming doors, so that their clients need another address alone."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict
from starlette.websockets import WebSocket

from fireredtts2.serving.live.stream_input import StreamInput, response_format
from fireredtts2.serving.schemas import Seed, SpeechRequest
from fireredtts2.serving.server import Server

Format = Annotated[str, Query(description="mp3_44100_128, pcm_24000, opus_48000_64, ...")]


class TextToSpeech(BaseModel):
    """What their clients send; what means nothing here is left out."""

    model_config = ConfigDict(extra="ignore")

    text: str
    seed: Seed = None


def elevenlabs_routes(server: Server) -> APIRouter:
    """Text to speech by HTTP, and by a WebSocket while the text is written."""
    router = APIRouter(prefix="/text-to-speech", tags=["elevenlabs"])

    @router.post("/{voice_id}/stream", response_class=StreamingResponse)
    @router.post("/{voice_id}", response_class=StreamingResponse)
    async def speech(
        voice_id: str, asked: TextToSpeech, output_format: Format = "mp3_44100_128"
    ) -> StreamingResponse:
        """One text in one voice, streamed while it is made."""
        format = response_format(output_format)
        values = {"input": asked.text, "voice": voice_id, "response_format": format}
        request = SpeechRequest.model_validate({**values, "seed": asked.seed})
        return await server.answer("elevenlabs", server.speech(request), request)

    @router.websocket("/{voice_id}/stream-input")
    async def stream_input(
        socket: WebSocket, voice_id: str, output_format: str = "mp3_44100_128"
    ) -> None:
        await socket.accept()
        await StreamInput(server, socket, voice_id, output_format).run()

    return router
