"""The application: routes over one model."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import anyio.to_thread
from fastapi import APIRouter, Depends, FastAPI, File, Form, UploadFile
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import Response, StreamingResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request

from fireredtts2.audio_writer import AudioStreamWriter
from fireredtts2.config import FRAME_RATE_HZ, OUTPUT_RATE_HZ
from fireredtts2.fireredtts2 import FireRedTTS2
from fireredtts2.serving import errors
from fireredtts2.serving.audio_stream import Spool
from fireredtts2.serving.config import ServingConfig
from fireredtts2.serving.errors import ApiError
from fireredtts2.serving.schemas import DialogueRequest, SpeechRequest
from fireredtts2.serving.server import Server

logger = logging.getLogger(__name__)

#: Names of models that clients send; all of them mean the one that is loaded.
MODEL_NAMES = ("fireredtts2", "tts-1", "tts-1-hd", "gpt-4o-mini-tts")


def create_app(config: ServingConfig, tts: FireRedTTS2 | None = None) -> FastAPI:
    """An application, ready for uvicorn.

    Args:
        config: of the server.
        tts: a loaded model; loaded here where not given.

    Raises:
        ValueError: as `FireRedTTS2`.
    """
    loaded = tts or FireRedTTS2(
        config.model, device=config.device, dtype=config.dtype, num_slots=config.num_slots
    )
    if config.voices_path is not None:
        loaded.voices.folders[0] = config.voices_path
    server = Server(loaded, config)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        server.is_draining = True  # uvicorn waits for those who still listen

    app = FastAPI(title="FireRedTTS-2", version="1", lifespan=lifespan)
    app.state.server = server
    if config.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(config.cors_origins),
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["authorization", "content-type"],
        )
    errors.install(app)
    app.include_router(system_routes(server))
    guarded = [Depends(server.check_key)]
    app.include_router(speech_routes(server), prefix="/v1", dependencies=guarded)
    app.include_router(voice_routes(server), prefix="/v1", dependencies=guarded)
    return app


def speech_routes(server: Server) -> APIRouter:
    """Speech: OpenAI's route, and ours for conversations."""
    router = APIRouter(tags=["speech"])

    @router.post("/audio/speech", response_class=StreamingResponse)
    async def speech(asked: SpeechRequest) -> StreamingResponse:
        """One text in one voice, streamed while it is made."""
        return await server.answer("speech", server.speech(asked), asked)

    @router.post("/audio/dialogue", response_class=StreamingResponse)
    async def dialogue(asked: DialogueRequest) -> StreamingResponse:
        """A conversation of up to four voices, streamed while it is made."""
        return await server.answer("dialogue", server.dialogue(asked), asked)

    @router.get("/models")
    async def models() -> dict[str, object]:
        """What `model` may be; all names mean the model that is loaded."""
        listed = [
            {"id": name, "object": "model", "created": 0, "owned_by": "fireredtts2"}
            for name in MODEL_NAMES
        ]
        return {"object": "list", "data": listed}

    return router


def voice_routes(server: Server) -> APIRouter:
    """The library of voices."""
    router = APIRouter(prefix="/voices", tags=["voices"])
    library = server.tts.voices

    def about(name: str) -> dict[str, object]:
        voice, path = library.get(name), library.path(name)
        return {
            "name": name,
            "language": voice.language,
            "seconds": round(voice.codes.shape[1] / FRAME_RATE_HZ, 2),
            "text": voice.text,
            "removable": path.parent == library.folders[0],
        }

    @router.get("")
    def voices() -> dict[str, object]:
        """All voices, the model's and those that were uploaded."""
        return {"object": "list", "data": [about(name) for name in library.list()]}

    @router.post("", status_code=201)
    async def add(
        name: Annotated[str, Form()],
        text: Annotated[str, Form(description="what is said in the clip")],
        file: Annotated[UploadFile, File(description="a clip of 0.4 to 40 s")],
        language: Annotated[str, Form()] = "en",
    ) -> dict[str, object]:
        """Makes a voice of a clip, once."""
        server.check_upload(file.size or 0)
        clip = await file.read()
        server.check_upload(len(clip))

        def make() -> dict[str, object]:
            from dataclasses import replace

            voice = replace(server.tts.make_voice(name, clip, text), language=language)
            library.add(voice)
            return about(name)

        return await anyio.to_thread.run_sync(make)

    @router.get("/{name}")
    def show(name: str) -> dict[str, object]:
        """What is known of a voice."""
        return about(existing(name))

    @router.get("/{name}/audio", response_class=Response)
    def listen(name: str) -> Response:
        """The voice's clip, as its codes decode."""
        voice = library.get(existing(name))
        audio = server.tts.codec.decode(voice.codes[None].to(server.tts.device))[0].cpu()
        spool = Spool()
        with AudioStreamWriter("wav", OUTPUT_RATE_HZ, spool) as writer:  # type: ignore[arg-type]
            writer.write(audio)
        return Response(spool.take(), media_type="audio/wav")

    @router.delete("/{name}", status_code=204)
    def remove(name: str) -> None:
        """Deletes an uploaded voice; those that came with the model stay."""
        library.remove(existing(name))

    def existing(name: str) -> str:
        if name not in library.list():
            raise ApiError(404, f"no voice {name[:80]!r}", code="voice_not_found", param="name")
        return name

    return router


def system_routes(server: Server) -> APIRouter:
    """For operators and load balancers; without a key."""
    router = APIRouter(tags=["system"])
    began = time.time()

    @router.get("/health")
    async def health() -> dict[str, object]:
        """Whether the process lives."""
        return {"status": "ok", "uptime_s": round(time.time() - began, 1)}

    @router.get("/ping")
    async def ping() -> Response:
        """Whether more requests are welcome: 200, or 503 with a full queue or while stopping."""
        scheduler = server.engine.scheduler
        is_ready = not server.is_draining and scheduler.num_waiting < scheduler.max_waiting
        return Response(status_code=200 if is_ready else 503)

    @router.get("/metrics")
    async def metrics(_request: Request) -> Response:
        """Figures in Prometheus' form."""
        return Response(generate_latest(server.metrics.registry), media_type=CONTENT_TYPE_LATEST)

    return router
