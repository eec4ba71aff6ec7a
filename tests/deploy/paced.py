"""A tiny model that speaks at a known pace, for servers in processes of their own."""

from __future__ import annotations

import os
import time
from collections import deque
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from fireredtts2 import FireRedTTS2
from fireredtts2.serving.app import create_app
from fireredtts2.serving.config import ServingConfig
from tests.tiny import ScriptedRunner, script_turns

#: Where the process finds the checkpoint, and how it speaks.
CHECKPOINT, FRAMES, FRAME_S = "TEST_CHECKPOINT", "TEST_FRAMES", "TEST_FRAME_S"
#: A file; while it is there, a turn takes so long that nobody hears its end.
SLOW = "TEST_SLOW"
SLOW_FRAME_S = 1.0


class PacedRunner(ScriptedRunner):
    """Makes a step of frames no faster than it is told to."""

    frame_s: float = 0.0
    slow: Path | None = None

    def launch(self, slots: Any) -> Any:
        is_slow = self.slow is not None and self.slow.exists()
        time.sleep(SLOW_FRAME_S if is_slow else self.frame_s)
        return super().launch(slots)


def paced_model(num_slots: int) -> FireRedTTS2:
    """The checkpoint that the environment names."""
    tts = FireRedTTS2(Path(os.environ[CHECKPOINT]), device="cpu", num_slots=num_slots)
    runner = script_turns(tts.studio.engine)  # type: ignore[arg-type]
    runner.__class__ = PacedRunner
    runner.frame_s = float(os.environ.get(FRAME_S, "0"))  # type: ignore[attr-defined]
    runner.slow = Path(os.environ[SLOW]) if SLOW in os.environ else None  # type: ignore[attr-defined]
    runner.lengths = deque([int(os.environ.get(FRAMES, "12"))] * 10_000)
    return tts


class NamesProcess:
    """Middleware that says which process answers."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def named(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"x-process", b"%d" % os.getpid())]
            await send(message)

        await self.app(scope, receive, named)


def paced_app(config: ServingConfig) -> FastAPI:
    """The application, which also says which process answers."""
    app = create_app(config, paced_model(config.num_slots))
    app.add_middleware(NamesProcess)
    return app
