"""Limits of rate, size, depth and time."""

import asyncio
import http.client
import json
import socket
import time
from pathlib import Path

import pytest

from fireredtts2 import FireRedTTS2
from fireredtts2.serving.body_limit import JsonDepth
from fireredtts2.serving.errors import ApiError
from fireredtts2.serving.keys import Client
from fireredtts2.serving.limits import Limits, Quota, limits_of
from fireredtts2.serving.rate_limit import RateLimiter
from tests.serving.hosting import app_of, client_of, model, say, serving, upload

pytest_plugins = ("tests.speaking",)


@pytest.fixture
def tts(voiced_checkpoint: Path) -> FireRedTTS2:
    return model(voiced_checkpoint)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


# --- Rates --------------------------------------------------------------------------------------


def test_a_bucket_fills_with_time():
    clock = Clock()
    rates = RateLimiter(clock)
    client = Client("anna", quota=Quota(requests_per_minute=60))
    for _ in range(60):
        rates.take(client, "requests_per_minute")
    with pytest.raises(ApiError) as error:
        rates.take(client, "requests_per_minute")
    assert (error.value.status, error.value.retry_after_s) == (429, 1)
    rates.take(Client("bert", quota=client.quota), "requests_per_minute")
    clock.now = 1.0
    rates.take(client, "requests_per_minute")
    with pytest.raises(ApiError):
        rates.take(client, "requests_per_minute")


def test_more_than_a_bucket_holds_is_owed():
    clock = Clock()
    rates = RateLimiter(clock)
    client = Client("anna", quota=Quota(characters_per_minute=100))
    rates.take(client, "characters_per_minute", 300)
    with pytest.raises(ApiError) as error:
        rates.take(client, "characters_per_minute", 50)
    assert error.value.retry_after_s == pytest.approx(150, abs=1)
    clock.now = 151.0
    rates.take(client, "characters_per_minute", 50)


def test_buckets_are_bounded():
    rates = RateLimiter(Clock(), max_buckets=10)
    for index in range(100):
        client = Client(f"10.0.0.{index}", quota=Quota(requests_per_minute=1))
        rates.take(client, "requests_per_minute")
    assert len(rates) == 10
    with pytest.raises(ApiError):
        rates.take(client, "requests_per_minute")


def test_streams_at_once():
    rates = RateLimiter()
    client = Client("anna", quota=Quota(concurrent_streams=1))
    with rates.stream(client), pytest.raises(ApiError) as error, rates.stream(client):
        pass
    assert error.value.status == 429
    with rates.stream(client):
        pass
    assert not rates._streams


@pytest.mark.parametrize(
    ("quota", "ask"),
    [
        (Quota(requests_per_minute=1), lambda client: client.get("/v1/voices")),
        (Quota(characters_per_minute=12), say),
        (Quota(uploads_per_hour=1), lambda client: upload(client, f"v{time.monotonic_ns()}")),
    ],
)
def test_who_asks_too_much_is_told_when_to_come_again(
    tts: FireRedTTS2, tmp_path: Path, quota: Quota, ask
):
    with client_of(tts, tmp_path, limits=Limits(quota=quota)) as client:
        assert ask(client).status_code in (200, 201)
        refused = ask(client)
        assert refused.status_code == 429
        assert refused.json()["error"]["code"] == "rate_limit_exceeded"
        assert 1 <= int(refused.headers["retry-after"]) <= 3_600
        assert client.get("/health").status_code == 200


def test_a_forwarded_address_is_not_believed(tts: FireRedTTS2, tmp_path: Path):
    limits = Limits(quota=Quota(requests_per_minute=1))
    with client_of(tts, tmp_path, limits=limits) as client:
        client.get("/v1/voices")
        forwarded = {"x-forwarded-for": "203.0.113.9", "forwarded": "for=203.0.113.9"}
        assert client.get("/v1/voices", headers=forwarded).status_code == 429


def test_voices_are_bounded(tts: FireRedTTS2, tmp_path: Path):
    with client_of(tts, tmp_path, limits=Limits(quota=Quota(max_voices=1))) as client:
        assert upload(client, "anna").status_code == 201
        assert upload(client, "bert").json()["error"]["code"] == "too_many_voices"


# --- Bodies -------------------------------------------------------------------------------------


def test_a_body_is_bounded_with_and_without_a_length(tts: FireRedTTS2, tmp_path: Path):
    with client_of(tts, tmp_path, limits=Limits(max_body_bytes=5_000)) as client:
        large = json.dumps({"input": "Hi.", "voice": "af_heart", "more": "x" * 6_000}).encode()
        pieces = (large[at : at + 100] for at in range(0, len(large), 100))
        headers = {"content-type": "application/json"}
        for content in (large, pieces):
            answer = client.post("/v1/audio/speech", content=content, headers=headers)
            assert answer.status_code == 413
            assert "5000 bytes" in answer.json()["error"]["message"]
        assert upload(client, "anna").status_code == 413
        assert say(client).status_code == 200


@pytest.mark.parametrize(
    ("text", "holds"),
    [
        (b'{"a": [1, {"b": "[[[[{{{{"}]}', True),
        (b'{"a": "\\"[[[[[[["}', True),
        (b'{"a": "\\\\", "b": [[[[]]]]}', False),
        (b"[" * 5, False),
        (b"[]" * 300_000, False),
    ],
)
def test_depth_is_seen_in_pieces_of_any_size(text: bytes, holds: bool):
    for size in (1, 2, 3, len(text)):
        if len(text) // size > 10_000:
            continue
        depth = JsonDepth(4)
        pieces = [text[at : at + size] for at in range(0, len(text), size)]
        assert all(depth.holds(piece) for piece in pieces) == holds


def test_a_deep_body_is_refused(tts: FireRedTTS2, tmp_path: Path):
    with client_of(tts, tmp_path) as client:
        body = b'{"input": "Hi.", "x": ' + b"[" * 40 + b"]" * 40 + b"}"
        answer = client.post("/v1/audio/speech", content=body)
        assert answer.status_code == 400
        assert "32 levels" in answer.json()["error"]["message"]


# --- Time ---------------------------------------------------------------------------------------


def answer_to(at: tuple[str, int], request: bytes, timeout_s: float = 5.0) -> bytes:
    """All that a server answers until it closes."""
    with socket.create_connection(at, timeout=timeout_s) as connection:
        connection.sendall(request)
        parts = []
        while part := connection.recv(65_536):
            parts.append(part)
        return b"".join(parts)


def test_a_stalled_upload_and_a_stalled_head_are_dropped(tts: FireRedTTS2, tmp_path: Path):
    limits = Limits(body_timeout_s=0.3, header_timeout_s=0.4)
    with serving(app_of(tts, tmp_path, limits=limits)) as at:
        head = b"POST /v1/audio/speech HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n"
        began = time.monotonic()
        answer = answer_to(at, head + b"Content-Length: 1000\r\n\r\n{")
        assert answer.startswith(b"HTTP/1.1 408"), answer
        assert b'"too_slow"' in answer
        assert answer_to(at, b"GET /health HT") == b""
        assert answer_to(at, b"") == b""
        assert time.monotonic() - began < 4
        closing = b"GET /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
        assert answer_to(at, closing).startswith(b"HTTP/1.1 200")


def test_a_connection_that_is_used_again_keeps_its_clock_right(tts: FireRedTTS2, tmp_path: Path):
    timeout_s = 0.6
    app = app_of(tts, tmp_path, limits=Limits(header_timeout_s=timeout_s))
    with serving(app) as at:
        connection = http.client.HTTPConnection(*at, timeout=10)
        connection.connect()
        first = connection.sock
        for _ in range(3):
            connection.request("GET", "/health")
            answer = connection.getresponse()  # reads on until the answer is whole
            assert (answer.status, json.loads(answer.read())["status"]) == (200, "ok")
            assert connection.sock is first, "and it was not opened anew"
            time.sleep(timeout_s + 0.1)  # longer than a head may take, but there is none
        connection.close()


def test_a_request_has_an_end(voiced_checkpoint: Path, tmp_path: Path):
    tts = model(voiced_checkpoint, frames=2_000)
    with client_of(tts, tmp_path, limits=Limits(max_request_s=0.3)) as client:
        began = time.monotonic()
        answer = say(client)
        assert answer.status_code == 200, "it had begun"
        assert time.monotonic() - began < 5
        tts.studio.engine.model_runner.lengths.clear()
        tts.studio.engine.model_runner.lengths.extend([2] * 5)
        assert say(client).status_code == 200
        assert not tts.studio.engine.scheduler.live, "a slot is free at the next step"
        assert 'outcome="cancelled"' in client.get("/metrics").text


def test_what_has_not_begun_in_time_is_told_so(tts: FireRedTTS2, tmp_path: Path, monkeypatch):
    app = app_of(tts, tmp_path, limits=Limits(max_request_s=0.2))

    @app.get("/v1/slow")
    async def slow() -> None:
        await asyncio.sleep(5)

    from fastapi.testclient import TestClient

    with TestClient(app) as client:
        answer = client.get("/v1/slow")
    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "timeout")


# --- Settings and headers -----------------------------------------------------------------------


def test_limits_come_from_the_environment():
    environ = {"FIREREDTTS2_MAX_BODY_BYTES": "1000", "FIREREDTTS2_REQUESTS_PER_MINUTE": "60"}
    limits = limits_of(environ)
    assert (limits.max_body_bytes, limits.quota.requests_per_minute) == (1_000, 60)
    for wrong in ("-1", "x", "0"):
        with pytest.raises(ValueError, match=r"(?i)requests_per_minute"):
            limits_of({"FIREREDTTS2_REQUESTS_PER_MINUTE": wrong})
    with pytest.raises(ValueError, match="nan"):
        limits_of({"FIREREDTTS2_SEND_TIMEOUT_S": "nan"})


def test_browsers_are_told_what_not_to_do(tts: FireRedTTS2, tmp_path: Path):
    with client_of(tts, tmp_path) as client:
        for path in ("/docs", "/v1/voices", "/health"):
            headers = client.get(path, headers={"origin": "https://evil.example"}).headers
            assert headers["x-content-type-options"] == "nosniff"
            assert "frame-ancestors 'none'" in headers["content-security-policy"]
            assert "access-control-allow-origin" not in headers


def test_the_documentation_has_examples_and_errors(tts: FireRedTTS2, tmp_path: Path):
    with client_of(tts, tmp_path) as client:
        told = client.get("/openapi.json").json()
        for name, path in (("SpeechRequest", "speech"), ("DialogueRequest", "dialogue")):
            example = told["components"]["schemas"][name]["examples"][0]
            assert client.post(f"/v1/audio/{path}", json=example).status_code == 200
    for path, methods in told["paths"].items():
        for method in methods.values():
            assert not path.startswith("/v1") or {"400", "401", "429"} <= set(method["responses"])
