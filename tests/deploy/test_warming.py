"""What is answered while the model is being loaded, and after."""

import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from starlette.websockets import WebSocketDisconnect

from fireredtts2.serving.runpod.load_balancer import addresses
from fireredtts2.serving.warming import WarmingApp


def test_it_says_that_it_loads_then_hands_over():
    may_end, failures = threading.Event(), []

    def load() -> FastAPI:
        may_end.wait(10)
        app = FastAPI()
        app.add_api_route("/ping", lambda: "ready")
        return app

    with TestClient(WarmingApp(load, failures.append)) as client:
        assert client.get("/ping").status_code == 204
        assert client.get("/health").json() == {"status": "loading"}
        early = client.post("/v1/audio/speech", json={})
        assert (early.status_code, early.headers["Retry-After"]) == (503, "2")
        assert "being loaded" in early.json()["error"]["message"]
        with pytest.raises(WebSocketDisconnect) as closed, client.websocket_connect("/ws"):
            pass
        assert closed.value.code == 1013
        may_end.set()
        deadline = time.monotonic() + 10
        while client.get("/ping").status_code != 200:
            assert time.monotonic() < deadline
        assert client.get("/ping").json() == "ready"
        assert client.get("/nothing").status_code == 404
    assert failures == []


def test_the_applications_own_life_is_lived():
    events: list[str] = []

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        events.append("began")
        yield
        events.append("ended")

    with TestClient(WarmingApp(lambda: FastAPI(lifespan=lifespan), lambda _: None)):
        pass
    assert events == ["began", "ended"]


def test_a_model_that_cannot_be_loaded_is_reported():
    failures: list[BaseException] = []

    def load() -> FastAPI:
        raise ValueError("no such model")

    with TestClient(WarmingApp(load, failures.append)) as client:
        deadline = time.monotonic() + 10
        while not failures and time.monotonic() < deadline:
            time.sleep(0.01)
        assert client.get("/ping").status_code == 204
    assert [str(failure) for failure in failures] == ["no such model"]


@pytest.mark.parametrize(
    ("environ", "ports"),
    [
        ({}, [7860]),
        ({"PORT": "80"}, [80]),
        ({"PORT": "80", "PORT_HEALTH": "80"}, [80]),
        ({"PORT": "80", "PORT_HEALTH": "81"}, [80, 81]),
    ],
)
def test_ports_are_what_runpod_says(environ: dict[str, str], ports: list[int]):
    at = addresses(environ)
    assert [one.port for one in at] == ports
    assert {one.host for one in at} == {"0.0.0.0"}


def test_a_port_that_is_none():
    with pytest.raises(ValueError, match="PORT_HEALTH='eighty'"):
        addresses({"PORT_HEALTH": "eighty"})
