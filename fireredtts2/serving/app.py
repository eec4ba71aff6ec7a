"""The application: routes over one model."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi.middleware.cors import CORSMiddleware

from fireredtts2.fireredtts2 import FireRedTTS2
from fireredtts2.serving import errors
from fireredtts2.serving.body_limit import BodyLimit
from fireredtts2.serving.config import ServingConfig
from fireredtts2.serving.deadline import Deadline
from fireredtts2.serving.gate import Gate
from fireredtts2.serving.jobs.service import opened_jobs
from fireredtts2.serving.routes import (
    dialogue,
    elevenlabs,
    live,
    sessions,
    speech,
    system,
    voices,
)
from fireredtts2.serving.routes import jobs as job_routes
from fireredtts2.serving.security_headers import SecurityHeaders
from fireredtts2.serving.server import Server

#: Projects of the studio are larger than what the API takes; the studio bounds them itself.
STUDIO_UPLOADS = re.compile(r"/studio/(zh/)?gradio_api/upload")


def create_app(config: ServingConfig, tts: FireRedTTS2 | None = None) -> FastAPI:
    """An application, ready for uvicorn.

    Args:
        config: of the server.
        tts: a loaded model; loaded here where not given.

    Raises:
        ValueError: as `FireRedTTS2`.
    """
    loaded = tts or FireRedTTS2(
        config.model,
        device=config.device,
        dtype=config.dtype,
        num_slots=config.num_slots,
        num_threads="auto",
        compile=config.compile,
        adapters=config.adapters,
    )
    loaded.studio.prepare()  # nobody shall wait for what a device captures
    if config.voices_path is not None:
        loaded.voices.folders[0] = config.voices_path
    server = Server(loaded, config)
    jobs = opened_jobs(loaded, config.jobs, server.marker)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        server.decoder.warm()
        if jobs is not None:
            jobs.start()
        yield
        if jobs is not None:
            jobs.close()
        server.close()  # uvicorn has waited for those who still listened

    app = FastAPI(title="FireRedTTS-2", version="1", lifespan=lifespan)
    app.state.server = server
    app.state.jobs = jobs
    # The last that is added is the first that a request meets.
    app.add_middleware(BodyLimit, limits=config.limits, exempt=STUDIO_UPLOADS)
    app.add_middleware(Gate, server=server)
    app.add_middleware(Deadline, max_s=config.limits.max_request_s)
    app.add_middleware(SecurityHeaders)
    if config.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=list(config.cors_origins),
            allow_methods=["GET", "POST", "DELETE"],
            allow_headers=["authorization", "content-type"],
        )
    errors.install(app)
    app.include_router(system.system_routes(server))
    jobs_too = job_routes.job_routes(server, jobs)
    app.include_router(jobs_too, prefix="/v1", responses=errors.RESPONSES)
    for routes in (
        speech.speech_routes,
        dialogue.dialogue_routes,
        voices.voice_routes,
        sessions.session_routes,
        live.live_routes,
        elevenlabs.elevenlabs_routes,
    ):
        app.include_router(routes(server), prefix="/v1", responses=errors.RESPONSES)
    return app
