"""What the tests of a server share: a tiny model whose turns end, clips, servers in threads."""

from __future__ import annotations

import contextlib
import io
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
from fastapi import FastAPI
from fastapi.testclient import TestClient

from fireredtts2 import FireRedTTS2
from fireredtts2.serving.app import create_app
from fireredtts2.serving.config import ServingConfig
from fireredtts2.serving.run import DrainingServer, configured
from tests.tiny import script_turns

FRAMES = 12
KEYS = ("the-first-long-key", "the-second-long-key")


def model(checkpoint: Path, frames: int = FRAMES, num_slots: int = 2) -> FireRedTTS2:
    """A model whose turns are all of so many frames."""
    tts = FireRedTTS2(checkpoint, device="cpu", num_slots=num_slots)
    script_turns(tts.studio.engine, *[frames] * 20_000)
    return tts


def app_of(tts: FireRedTTS2, folder: Path, **values) -> FastAPI:
    settings = {"voices_path": folder / "voices", "num_slots": len(slots(tts)), **values}
    return create_app(ServingConfig(**settings), tts)


def slots(tts: FireRedTTS2) -> list:
    return tts.studio.engine.scheduler.slots


@contextlib.contextmanager
def client_of(tts: FireRedTTS2, folder: Path, key: str = "", **values) -> Iterator[TestClient]:
    with TestClient(app_of(tts, folder, **values), raise_server_exceptions=False) as client:
        if key:
            client.headers["authorization"] = f"Bearer {key}"
        yield client


@contextlib.contextmanager
def serving(app: FastAPI) -> Iterator[tuple[str, int]]:
    """A real server on a port of its own."""
    config = configured(app)
    with socket.create_server(("127.0.0.1", 0)) as at:
        server = DrainingServer(config, app.state.server, drain_s=5)
        thread = threading.Thread(target=server.run, args=([at],), daemon=True)
        thread.start()
        until(lambda: server.started)
        try:
            yield at.getsockname()
        finally:
            server.should_exit = True
            thread.join(10)


def until(is_so, timeout_s: float = 10.0) -> None:
    """Waits for something; an error if it does not come."""
    ends_at = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < ends_at, "did not come true"
        time.sleep(0.01)


def clip(seconds: float = 2.0, format: str = "WAV", rate_hz: int = 16_000) -> bytes:
    audio = 0.1 * np.random.default_rng(0).standard_normal(int(rate_hz * seconds))
    file = io.BytesIO()
    soundfile.write(file, audio, rate_hz, format=format)
    return file.getvalue()


def upload(client: TestClient, name: str, data: bytes | None = None):
    form = {"name": name, "text": "What is said."}
    files = {"file": ("clip.wav", clip() if data is None else data)}
    return client.post("/v1/voices", data=form, files=files)


def say(client: TestClient, **values):
    body = {"input": "Hello there.", "voice": "af_heart", "response_format": "pcm", **values}
    return client.post("/v1/audio/speech", json=body)


def open_files() -> int:
    return len(os.listdir("/proc/self/fd"))
