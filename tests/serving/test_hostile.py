"""Malformed requests and messages by the thousand: no crash, no hang, no 500 without a cause.

`make test-hostile` runs the long ones.
"""

import collections
import contextlib
import json
import logging
import random
import re
import select
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.testclient import WebSocketDenialResponse
from starlette.websockets import WebSocketDisconnect

from fireredtts2 import FireRedTTS2
from fireredtts2.serving.limits import Limits, Quota
from tests.serving import mutations
from tests.serving.hosting import app_of, model, open_files, say, serving, until

logger = logging.getLogger(__name__)
pytest_plugins = ("tests.speaking",)
LIMITS = Limits(
    body_timeout_s=1.0, header_timeout_s=1.0, max_body_bytes=100_000, quota=Quota(max_voices=5)
)
#: What a server may say to a wrong request. 501: what it was not started with.
EXPECTED = {200, 201, 202, 204, 307, 400, 401, 403, 404, 405, 406, 408, 411, 413, 415, 426}
EXPECTED |= {429, 431, 501, 505}
ANSWER_S, PATIENCE_S = 8.0, 0.15
MANY_HTTP, MANY_MESSAGES = 10_000, 10_000


@pytest.fixture
def tts(voiced_checkpoint: Path) -> FireRedTTS2:
    return model(voiced_checkpoint, frames=1)


@pytest.fixture
def app(tts: FireRedTTS2, tmp_path: Path) -> FastAPI:
    return app_of(tts, tmp_path, limits=LIMITS)


def exchange(at: tuple[str, int], request: bytes) -> bytes:
    """What comes back until the connection ends; an error if it does not end."""
    with socket.create_connection(at, timeout=ANSWER_S) as connection:
        parts = []
        with contextlib.suppress(ConnectionError):  # refused in the middle: its right
            connection.sendall(request)
            if not select.select([connection], [], [], PATIENCE_S)[0]:
                connection.shutdown(socket.SHUT_WR)  # it waits for more of the request
            while part := connection.recv(65_536):
                parts.append(part)
        return b"".join(parts)


def seen(at: tuple[str, int], request: bytes) -> int:
    """The status of the answer, 0 for a connection that was closed without."""
    answer = exchange(at, request)
    found = re.match(rb"HTTP/1\.1 (\d{3})", answer)
    status = int(found.group(1)) if found else 0
    assert status in EXPECTED | {0}, (status, request[:500], answer[:500])
    return status


def fuzz(at: tuple[str, int], seed: int, count: int) -> collections.Counter[int]:
    with ThreadPoolExecutor(8) as pool:
        asked = mutations.requests(seed, count)
        return collections.Counter(pool.map(lambda request: seen(at, request), asked))


@pytest.mark.parametrize("count", [250, pytest.param(MANY_HTTP, marks=pytest.mark.slow)])
def test_malformed_requests(app: FastAPI, tts: FireRedTTS2, tmp_path: Path, count: int):
    with serving(app) as at:
        fuzz(at, 1, 20)
        before, began = open_files(), time.monotonic()
        statuses = fuzz(at, 2, count)
        took_s = time.monotonic() - began
        logger.info("%d requests, %.0f s, %s", count, took_s, sorted(statuses.items()))
        until(lambda: app.state.server.num_under_way == 0)
        until(lambda: open_files() <= before + 4)
        sound = framed_speech()
        assert exchange(at, sound).startswith(b"HTTP/1.1 200"), "and it goes on speaking"
        assert not tts.studio.engine.scheduler.live
    outside = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert all(path.parent == tmp_path / "voices" for path in outside), outside


def framed_speech() -> bytes:
    """A right request, sent by hand."""
    whole = {name: value for name, value in mutations.SPEECH.items() if value is not None}
    return mutations.framed("POST", b"/v1/audio/speech", json.dumps(whole).encode())


@pytest.mark.parametrize("name", mutations.NAMES)
def test_a_name_is_no_path(app: FastAPI, tmp_path: Path, name: str):
    (tmp_path / "etc").mkdir()
    with TestClient(app, raise_server_exceptions=False) as client:
        for method, ending in (("GET", ""), ("GET", "/audio"), ("DELETE", "")):
            answer = client.request(method, f"/v1/voices/{name}{ending}")
            is_list = answer.status_code == 200 and answer.json()["object"] == "list"
            assert is_list or answer.status_code in (307, 400, 404, 405), (method, name)
            assert "root:" not in answer.text
        assert say(client, voice=name).status_code == 400
        assert (tmp_path / "etc").is_dir()


# --- WebSockets ---------------------------------------------------------------------------------


def socket_paths(app: FastAPI) -> list[str]:
    """Paths of the WebSockets that there are."""
    found, routes = [], list(app.routes)
    while routes:
        route = routes.pop()
        routes += getattr(getattr(route, "original_router", None), "routes", [])
        if "WebSocket" in type(route).__name__:
            found.append(re.sub(r"\{\w+\}", "af_heart", route.path))
    return sorted({path if path.startswith("/v1") else f"/v1{path}" for path in found})


MESSAGES = [
    {"type": "session.config", "voice": "af_heart", "context_id": "a", "response_format": "pcm"},
    {"type": "input.text", "text": "Hi there. ", "context_id": "a"},
    {"type": "input.done", "context_id": "a"},
    {"type": "cancel", "context_id": "a"},
    {"text": " ", "voice_settings": {"stability": 0.5}, "xi_api_key": "x"},
    {"text": "Hi there. ", "try_trigger_generation": True, "flush": True},
    {"text": ""},
]


def messages(chance: random.Random) -> Iterator[str | bytes]:
    """What one connection sends."""
    for _ in range(25):
        whole = chance.choice(MESSAGES)
        made = whole if chance.random() < 0.2 else mutations.spoilt_value(whole, chance)
        text = json.dumps(made)
        kind = chance.random()
        if kind < 0.15:
            yield mutations.spoilt(text.encode(), chance)
        elif kind < 0.3:
            yield mutations.spoilt(text.encode(), chance).decode("latin-1")
        else:
            yield text


@pytest.mark.parametrize("count", [250, pytest.param(MANY_MESSAGES, marks=pytest.mark.slow)])
def test_malformed_messages(app: FastAPI, tts: FireRedTTS2, count: int):
    connect = pytest.importorskip("websockets.sync.client").connect
    closed = pytest.importorskip("websockets.exceptions").ConnectionClosed
    paths = socket_paths(app)
    if not paths:
        pytest.skip("there is no WebSocket yet")
    chance = random.Random(3)
    sent, codes = 0, collections.Counter()
    with serving(app) as (host, port):
        while sent < count:
            path = paths[sent % len(paths)]
            with connect(f"ws://{host}:{port}{path}", max_size=None, close_timeout=2) as connection:
                try:
                    for message in messages(chance):
                        connection.send(message)
                        sent += 1
                    while True:
                        connection.recv(timeout=0.02)
                except TimeoutError:
                    pass
                except closed as error:
                    codes[error.rcvd.code if error.rcvd else 0] += 1
        logger.info("%d messages on %s, closed with %s", sent, paths, dict(codes))
        assert not codes[1011], "the server met an error of its own"
        until(lambda: app.state.server.num_under_way == 0)
        assert exchange((host, port), framed_speech()).startswith(b"HTTP/1.1 200")


def test_an_opening_without_a_key_is_refused(tts: FireRedTTS2, tmp_path: Path):
    app = app_of(tts, tmp_path, api_keys=("the-first-long-key",))
    with TestClient(app) as client:
        opening = client.websocket_connect("/v1/audio/speech/stream")
        with pytest.raises((WebSocketDisconnect, WebSocketDenialResponse)) as refused:
            opening.__enter__()
        assert getattr(refused.value, "status_code", 401) == 401


# --- What the API says of itself ----------------------------------------------------------------


def test_examples_of_every_kind_that_the_schema_allows(app: FastAPI):
    every_operation(app, max_examples=4)


@pytest.mark.slow
def test_many_examples_of_every_kind_that_the_schema_allows(app: FastAPI):
    num_sent = every_operation(app, max_examples=300)
    logger.info("%d requests by schemathesis", num_sent)
    assert num_sent > 1_000


def every_operation(app: FastAPI, max_examples: int) -> int:
    """Sends what schemathesis makes of the schema; says how many requests that was."""
    schemathesis = pytest.importorskip("schemathesis", reason="pip install schemathesis")
    import hypothesis

    schema = schemathesis.openapi.from_asgi("/openapi.json", app)
    sent = 0
    modes = [schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE]
    for result in schema.get_all_operations():
        for mode in modes:
            operation = result.ok()

            def check(case) -> None:
                nonlocal sent
                sent += 1
                answer = case.call()
                assert answer.status_code in EXPECTED | {422}, (case.as_curl_command(), answer.text)
                if answer.status_code >= 400 and case.path.startswith("/v1"):
                    assert set(answer.json()["error"]) == {"message", "type", "param", "code"}

            strategy = operation.as_strategy(generation_mode=mode)
            run = hypothesis.given(case=strategy)(check)
            settings = hypothesis.settings(
                max_examples=max_examples, deadline=None, database=None, derandomize=True,
                suppress_health_check=list(hypothesis.HealthCheck),
            )  # fmt: skip
            with contextlib.suppress(hypothesis.errors.Unsatisfiable):  # nothing can be wrong in it
                settings(run)()
    return sent
