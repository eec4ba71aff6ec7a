"""Malformed requests and messages by the thousand: no crash, no hang, no 500 without a cause.

`make test-hostile` runs the long ones. After each batch a right request must get the right answer.
"""

import collections
import contextlib
import itertools
import json
import logging
import random
import re
import select
import socket
import threading
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
from fireredtts2.serving.jobs.config import JobsConfig
from fireredtts2.serving.limits import Limits, Quota
from fireredtts2.serving.live.limits import LiveLimits
from fireredtts2.serving.metrics import resident_bytes
from tests.serving import hostile_messages, mutations
from tests.serving.hosting import app_of, model, open_files, say, serving, until

logger = logging.getLogger(__name__)
pytest_plugins = ("tests.speaking",)
LIMITS = Limits(
    body_timeout_s=1.0, header_timeout_s=1.0, max_body_bytes=100_000, quota=Quota(max_voices=5)
)
#: What a server may say to a wrong request. 501: what it was not started with.
EXPECTED = {
    101,
    200,
    201,
    202,
    204,
    307,
    400,
    401,
    403,
    404,
    405,
    406,
    408,
    409,
    410,
    411,
    413,
    415,
}
EXPECTED |= {416, 426, 429, 431, 501, 505}
ANSWER_S, PATIENCE_S = 8.0, 0.15
MANY_HTTP, MANY_MESSAGES, BATCH = 10_000, 10_000, 500
#: Of a process that has both ends in it, once what grows once has grown.
MAX_GROWTH_BYTES = 150 * 2**20


@pytest.fixture
def tts(voiced_checkpoint: Path) -> FireRedTTS2:
    return model(voiced_checkpoint, frames=1)


@pytest.fixture
def app(tts: FireRedTTS2, tmp_path: Path) -> FastAPI:
    jobs = JobsConfig(path=tmp_path / "jobs", max_jobs_per_key=20)
    return app_of(tts, tmp_path, limits=LIMITS, jobs=jobs, live=LiveLimits(max_errors=60))


class Memory:
    """The most that this process has held since it began to look."""

    def __init__(self) -> None:
        self.at_start = self.peak = resident_bytes()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)

    def __enter__(self) -> "Memory":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._is_over.wait(0.05):
            self.peak = max(self.peak, resident_bytes())

    @property
    def growth(self) -> float:
        return self.peak - self.at_start

    def told(self) -> str:
        """For the report."""
        figures = [num / 2**20 for num in (self.at_start, self.peak, resident_bytes())]
        return "memory {:.0f} MB, at most {:.0f} MB, {:.0f} MB at the end".format(*figures)


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
    answer = exchange(at, request).removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
    found = re.match(rb"HTTP/1\.1 (\d{3})", answer)
    status = int(found.group(1)) if found else 0
    assert status in EXPECTED | {0}, (status, request[:500], answer[:500])
    return status


def framed_speech() -> bytes:
    """A right request, sent by hand."""
    whole = {name: value for name, value in mutations.SPEECH.items() if value is not None}
    return mutations.framed("POST", b"/v1/audio/speech", json.dumps(whole).encode())


def sound_of(answer: bytes) -> bytes:
    """The samples of an answer in chunks."""
    head, _, rest = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200"), answer[:500]
    sound = b""
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        sound, rest = sound + rest[: int(size, 16)], rest[int(size, 16) + 2 :]
    return sound


def settle(app: FastAPI, tts: FireRedTTS2) -> None:
    """Waits until nothing is spoken any more; removes the jobs that were let in."""
    jobs = app.state.jobs
    for job in jobs.find(""):
        jobs.delete("", job.id)
    until(lambda: app.state.server.num_under_way == 0, 30)
    until(lambda: not tts.studio.engine.scheduler.live, 30)
    lengths = tts.studio.engine.model_runner.lengths
    lengths.extend([1] * (20_000 - len(lengths)))


@pytest.mark.parametrize("count", [250, pytest.param(MANY_HTTP, marks=pytest.mark.slow)])
def test_malformed_requests(app: FastAPI, tts: FireRedTTS2, tmp_path: Path, count: int):
    routes = mutations.operations(app.openapi())
    statuses: collections.Counter[int] = collections.Counter()
    aims: collections.Counter[str] = collections.Counter()
    with serving(app) as at, ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda made: seen(at, made[1]), mutations.requests(1, 20, routes)))
        settle(app, tts)
        right = sound_of(exchange(at, framed_speech()))
        assert len(right) == 1_920 * 2
        files, began = open_files(), time.monotonic()
        asked = mutations.requests(2, count, routes)
        with Memory() as memory:
            while batch := list(itertools.islice(asked, BATCH)):
                aims.update(aim for aim, _ in batch)
                statuses.update(pool.map(lambda made: seen(at, made[1]), batch))
                settle(app, tts)
                assert sound_of(exchange(at, framed_speech())) == right, "it goes on speaking"
        took_s = time.monotonic() - began
        logger.info("%d requests, %.0f s, %s", count, took_s, sorted(statuses.items()))
        logger.info("%s; at %d aims, the rarest %s", memory.told(), len(aims), min(aims.values()))
        until(lambda: open_files() <= files + 4)
    assert sum(statuses.values()) == count
    assert memory.growth < MAX_GROWTH_BYTES
    outside = [path for path in tmp_path.rglob("*") if path.is_file()]
    inside = (tmp_path / "voices", tmp_path / "jobs")
    assert all(path.parents[0] in inside for path in outside), outside


def test_a_name_is_no_path(app: FastAPI, tmp_path: Path):
    (tmp_path / "etc").mkdir()
    with TestClient(app, raise_server_exceptions=False) as client:
        for name in mutations.NAMES:
            for method, ending in (("GET", ""), ("GET", "/audio"), ("DELETE", "")):
                answer = client.request(method, f"/v1/voices/{name}{ending}")
                is_list = answer.status_code == 200 and answer.json()["object"] == "list"
                assert is_list or answer.status_code in (307, 400, 404, 405), (method, name)
                assert "root:" not in answer.text
            assert say(client, voice=name).status_code == 400, name
            assert (tmp_path / "etc").is_dir()


# --- WebSockets ---------------------------------------------------------------------------------


def answers_of(frames: list[tuple[int, bytes]]) -> Iterator[str]:
    """What the server said, in words: types and codes of its messages, how it closed."""
    for opcode, data in frames:
        if opcode == hostile_messages.CLOSE:
            yield f"closed {int.from_bytes(data[:2], 'big') if data else 'without a code'}"
        elif opcode == hostile_messages.TEXT:
            told = json.loads(data)
            error = told.get("error")
            code = error.get("code") or error["type"] if isinstance(error, dict) else error
            yield f"error {code}" if error else told.get("type", "audio")
        else:
            yield "sound" if opcode == hostile_messages.BINARY else "pong"


def attack(at: tuple[str, int], seed: int) -> tuple[int, str, list[str]]:
    """One connection: how many frames it sent, of which plan, and what was answered."""
    chance = random.Random(seed)
    is_live = seed % 3 != 0
    path = hostile_messages.LIVE_PATH if is_live else hostile_messages.STREAM_PATH
    plans = hostile_messages.ON_LIVE if is_live else hostile_messages.ON_BOTH
    plan = plans[seed // 3 % len(plans)]
    whole = hostile_messages.LIVE if is_live else hostile_messages.STREAM
    raw = hostile_messages.RawSocket(at, path)
    num_sent, frames = 0, []
    try:
        for data in plan(whole, chance):
            frames += raw.read(0)
            if any(opcode == hostile_messages.CLOSE for opcode, _ in frames) or not raw.send(data):
                break  # what it no longer reads is not counted
            num_sent += 1
        if not any(opcode == hostile_messages.CLOSE for opcode, _ in frames):
            frames += raw.read(0.1)
    finally:
        raw.close()
    return num_sent, plan.__name__, list(answers_of(frames))


def spoken_live(at: tuple[str, int]) -> bytes:
    """A right conversation's sound."""
    raw = hostile_messages.RawSocket(at, hostile_messages.LIVE_PATH)
    for message in (
        {"type": "session.config", "voice": "af_heart", "seed": 1},
        {"type": "input.text", "text": "Hi there. "},
        {"type": "input.done"},
    ):
        assert raw.send(hostile_messages.text(message))
    frames: list[tuple[int, bytes]] = []
    until(lambda: frames.extend(raw.read(0.02)) or "turn.done" in answers_of(frames))
    raw.close()
    return b"".join(data[1:] for code, data in frames if code == hostile_messages.BINARY)


@pytest.mark.parametrize("count", [250, pytest.param(MANY_MESSAGES, marks=pytest.mark.slow)])
def test_malformed_messages(app: FastAPI, tts: FireRedTTS2, count: int):
    answers: collections.Counter[str] = collections.Counter()
    sent: collections.Counter[str] = collections.Counter()
    seeds = itertools.count(1)
    with serving(app) as at, ThreadPoolExecutor(4) as pool:
        attack(at, 1)
        settle(app, tts)
        right, spoken = sound_of(exchange(at, framed_speech())), spoken_live(at)
        assert len(spoken) == 1_920 * 2
        began, num_connections = time.monotonic(), 0
        with Memory() as memory:
            while sent.total() < count:
                batch = list(itertools.islice(seeds, 36))  # each plan on each path
                num_connections += len(batch)
                for num_sent, plan, told in pool.map(lambda seed: attack(at, seed), batch):
                    sent[plan] += num_sent
                    answers.update(told)
                settle(app, tts)
                assert sound_of(exchange(at, framed_speech())) == right, "it goes on speaking"
                assert spoken_live(at) == spoken
        took_s = time.monotonic() - began
    logger.info("%d frames, %d connections, %.0f s", sent.total(), num_connections, took_s)
    logger.info("%s; %s", memory.told(), dict(sent.most_common()))
    logger.info("answers %s", dict(answers.most_common()))
    assert answers["closed 1011"] == 0, "the server met an error of its own"
    assert answers["error server_error"] == 0
    assert memory.growth < MAX_GROWTH_BYTES


def test_every_socket_is_attacked(app: FastAPI):
    found, routes = set(), list(app.routes)
    while routes:
        route = routes.pop()
        routes += getattr(getattr(route, "original_router", None), "routes", [])
        if "WebSocket" in type(route).__name__:
            found.add(re.sub(r"\{\w+\}", "af_heart", route.path))
    paths = {path if path.startswith("/v1") else f"/v1{path}" for path in found}
    assert paths == {hostile_messages.LIVE_PATH, hostile_messages.STREAM_PATH}


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
