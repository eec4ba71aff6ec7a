"""What the tests of the studio share: a real server with a tiny model, and a studio before it."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import uvicorn
from fastapi import FastAPI

from fireredtts2 import FireRedTTS2
from fireredtts2.ui.api_client import ApiClient
from fireredtts2.ui.desk import Desk
from tests.serving.hosting import app_of, serving, until

VOICES = {"S1": "af_heart", "S2": "am_michael"}


@contextlib.contextmanager
def api_server(tts: FireRedTTS2, folder: Path, **values) -> Iterator[str]:
    """Where a server listens."""
    with serving(app_of(tts, folder, **values)) as (host, port):
        yield f"http://{host}:{port}"


@contextlib.contextmanager
def studio_server(address: str, folder: Path) -> Iterator[tuple[str, Desk]]:
    """Where a studio of its own listens, and its desk."""
    from fireredtts2.ui.mount import mount_studio

    app = FastAPI()
    desk = mount_studio(app, address, folder)
    with socket.create_server(("127.0.0.1", 0)) as at:
        server = uvicorn.Server(uvicorn.Config(app, log_level="warning"))
        thread = threading.Thread(target=server.run, args=([at],), daemon=True)
        thread.start()
        until(lambda: server.started)
        try:
            host, port = at.getsockname()
            yield f"http://{host}:{port}/studio", desk
        finally:
            server.should_exit = server.force_exit = True
            thread.join(10)


@contextlib.contextmanager
def client(address: str, key: str = "") -> Iterator[ApiClient]:
    made = ApiClient(address, key)
    try:
        yield made
    finally:
        made.close()
