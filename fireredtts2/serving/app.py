"""The application: routes over one model."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Depends, FastAPI
from fastapi.middleware.cors import CORSMiddleware

from fireredtts2.fireredtts2 import FireRedTTS2
from fireredtts2.serving import errors
from fireredtts2.serving.config import ServingConfig
from fireredtts2.serving.routes import speech, system, voices
from fireredtts2.serving.server import Server


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
    app.include_router(system.system_routes(server))
    for routes in (speech.speech_routes, voices.voice_routes):
        app.include_router(routes(server), prefix="/v1", dependencies=[Depends(server.check_key)])
    return app
