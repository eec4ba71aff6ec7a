"""Starting and ending a real process."""

import http.client
import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.deploy import processes
from tests.serving.hosting import until

pytest_plugins = ("tests.speaking",)
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def process(voiced_checkpoint: Path, tmp_path: Path):
    """A server of slow speech, and its port."""
    port = processes.free_port()
    env = processes.environment(
        TEST_CHECKPOINT=voiced_checkpoint, TEST_FRAMES=25, TEST_FRAME_S=0.08, TEST_PORT=port,
        FIREREDTTS2_VOICES=tmp_path / "voices",
    )  # fmt: skip
    log = tmp_path / "log"
    started = processes.python("-m", "tests.serving.stopping_server", env=env, log=log)
    until(lambda: is_open(port) or started.poll() is not None, 40)
    assert started.poll() is None, log.read_text()
    yield started, port
    processes.stop(started)


def is_open(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def begin(port: int) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
    """A stream whose first sound has come."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    body = {"input": "Hi.", "voice": "af_heart", "response_format": "pcm"}
    head = {"content-type": "application/json"}
    connection.request("POST", "/v1/audio/speech", json.dumps(body), head)
    answer = connection.getresponse()
    assert answer.status == 200
    return connection, answer


def status_of(port: int, path: str) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    connection.request("GET", path)
    status = connection.getresponse().status
    connection.close()
    return status


def test_who_listens_hears_the_end(process: tuple[subprocess.Popen, int]):
    server, port = process
    connection, answer = begin(port)
    assert status_of(port, "/ping") == 200
    server.send_signal(signal.SIGTERM)
    until(lambda: status_of(port, "/ping") == 503, 1.5)
    assert status_of(port, "/v1/voices") == 503
    assert status_of(port, "/health") == 200
    sound = answer.read()
    assert len(sound) == 25 * 1_920 * 2, "all of it"
    connection.close()
    assert server.wait(10) == 0


def test_told_twice_it_ends_at_once(process: tuple[subprocess.Popen, int]):
    server, port = process
    connection, _ = begin(port)
    server.send_signal(signal.SIGTERM)
    until(lambda: status_of(port, "/ping") == 503, 1.5)
    began = time.monotonic()
    server.send_signal(signal.SIGTERM)
    assert server.wait(5) == 128 + signal.SIGTERM
    assert time.monotonic() - began < 1
    connection.close()


def test_a_port_that_is_taken_is_told_before_a_model_is_loaded(tmp_path: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = subprocess.run(
            [sys.executable, "-m", "fireredtts2", "serve", "--port", str(port)],
            capture_output=True, text=True, cwd=tmp_path,
            env=processes.environment(FIREREDTTS2_MODEL="/nowhere"),
        )  # fmt: skip
    assert done.returncode == 5
    assert f"127.0.0.1:{port}: the port is taken" in done.stderr
    assert len(done.stderr.splitlines()) == 1
