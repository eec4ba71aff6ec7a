"""A store of either kind, for the same tests."""

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from fireredtts2.serving.jobs.sqlite_store import SqliteStore
from fireredtts2.serving.jobs.store import JobStore

KINDS = ("sqlite", "redis")


@contextmanager
def redis_server() -> Iterator[str]:
    """A Redis of our own, in a folder of its own; its address."""
    pytest.importorskip("redis", reason="the redis package is not installed")
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("no redis-server is installed")
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port = found.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        command = [
            program,
            "--port",
            str(port),
            "--bind",
            "127.0.0.1",
            "--save",
            "",
            "--dir",
            folder,
        ]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        try:
            _wait_for(port)
            yield f"redis://127.0.0.1:{port}/0"
        finally:
            process.terminate()
            process.wait(10)


def _wait_for(port: int) -> None:
    ends_at = time.monotonic() + 10
    while time.monotonic() < ends_at:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise TimeoutError("redis-server does not answer")


@contextmanager
def store_of(kind: str, folder: Path, url: str | None, name: str = "test") -> Iterator[JobStore]:
    if kind == "sqlite":
        store: JobStore = SqliteStore(folder / f"{name}.sqlite")
    else:
        from fireredtts2.serving.jobs.redis_store import RedisStore

        assert url is not None
        store = RedisStore(url, name)
    try:
        yield store
    finally:
        store.close()
