"""Jobs of RunPod's queue, answered by the API's own routes, without RunPod."""

import asyncio
import base64
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from fireredtts2 import FireRedTTS2
from fireredtts2.serving.app import create_app
from fireredtts2.serving.config import ServingConfig
from fireredtts2.serving.runpod.exchange import MAX_PIECE_BYTES, Exchange
from fireredtts2.serving.runpod.queue_worker import QueueWorker
from tests.tiny import script_turns

pytest_plugins = ("tests.speaking",)
FRAMES = 12
NUM_BYTES = round(FRAMES * 0.08 * 24_000) * 2
SPEECH = {"input": "Hello there.", "voice": "af_heart", "response_format": "pcm", "seed": 3}


@pytest.fixture
def tts(voiced_checkpoint: Path) -> FireRedTTS2:
    model = FireRedTTS2(voiced_checkpoint, device="cpu", num_slots=2)
    script_turns(model.studio.engine, *[FRAMES] * 50)
    return model


@pytest.fixture
def app(tts: FireRedTTS2, tmp_path: Path) -> FastAPI:
    return create_app(ServingConfig(num_slots=2, voices_path=tmp_path / "voices"), tts)


@pytest.fixture
def worker(app: FastAPI) -> QueueWorker:
    return QueueWorker(app, num_slots=2)


def done(worker: QueueWorker, given: object) -> list[dict[str, Any]]:
    async def collect() -> list[dict[str, Any]]:
        return [output async for output in worker.handle({"id": "a", "input": given})]

    return asyncio.run(collect())


def sound(outputs: list[dict[str, Any]]) -> bytes:
    assert [output["index"] for output in outputs] == list(range(len(outputs)))
    return b"".join(base64.b64decode(output["audio"]) for output in outputs)


def test_a_job_is_what_the_api_answers(worker: QueueWorker, app: FastAPI):
    outputs = done(worker, SPEECH)
    assert {output["format"] for output in outputs} == {"pcm"}
    assert len(outputs) > 1, "not streamed"
    assert len(sound(outputs)) == NUM_BYTES
    assert sound(outputs) == TestClient(app).post("/v1/audio/speech", json=SPEECH).content


def test_a_dialogue_and_the_usual_format(worker: QueueWorker):
    turns = [{"speaker": "S1", "text": "Hello."}, {"speaker": "S2", "text": "Good day."}]
    outputs = done(worker, {"turns": turns, "voices": {"S1": "af_heart", "S2": "am_michael"}})
    assert {output["format"] for output in outputs} == {"mp3"}
    assert sound(outputs)[:3] == b"ID3" or sound(outputs)[0] == 0xFF


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (None, "of type NoneType"),
        (["a"], "of type list"),
        ({}, "needs either `input`"),
        ({"prompt": "hello"}, "needs either `input`"),
        ({"input": "a", "script": "[S1]b"}, "needs either `input`"),
        ({**SPEECH, "voice": "nobody"}, "known voices"),
        ({**SPEECH, "response_format": "midi"}, "response_format"),
        ({**SPEECH, "speed": 9}, "speed"),
        ({**SPEECH, "stream_format": "sse"}, "stream_format 'sse'"),
        ({**SPEECH, "seed": "\ud800"}, "seed"),
        ({**SPEECH, "ref_audio": "https://a.example/a.wav", "ref_text": "a"}, "ref_audio"),
    ],
)
def test_bad_inputs_end_in_openais_error(worker: QueueWorker, given: object, message: str):
    (output,) = done(worker, given)
    error = json.loads(output["error"])["error"]
    assert message in error["message"]
    assert error["type"] == "invalid_request_error"


def test_an_error_in_mid_stream_is_told(worker: QueueWorker, tts: FireRedTTS2):
    runner = tts.studio.engine.model_runner
    draw, num_drawn = runner.launch, 0

    def break_down(slots: Any) -> Any:
        nonlocal num_drawn
        num_drawn += 1
        if num_drawn > FRAMES // 2:
            raise RuntimeError("the device is gone")
        return draw(slots)

    runner.launch = break_down  # type: ignore[method-assign]
    *outputs, last = done(worker, SPEECH)
    assert 0 < len(sound(outputs)) < NUM_BYTES
    assert json.loads(last["error"])["error"]["type"] == "server_error"


@pytest.mark.parametrize("way", ["closed", "cancelled"])
def test_a_job_that_is_stopped_frees_its_slot(worker: QueueWorker, tts: FireRedTTS2, way: str):
    script_turns(tts.studio.engine, None)  # it would speak on and on

    async def start_and_stop() -> None:
        began = asyncio.Event()

        async def listen() -> None:
            outputs = worker.handle({"id": "a", "input": SPEECH})
            async for _ in outputs:
                began.set()
                if way == "closed":
                    await outputs.aclose()  # type: ignore[attr-defined]
                    return

        task = asyncio.create_task(listen())
        await asyncio.wait_for(began.wait(), 20)
        if way == "cancelled":
            task.cancel()
        await asyncio.wait([task])
        await until(lambda: not tts.studio.engine.scheduler.live)

    asyncio.run(start_and_stop())


async def until(is_true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not is_true():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.01)


def test_what_nobody_takes_is_not_piled_up():
    async def endless(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            await send({"type": "http.response.body", "body": bytes(100_000), "more_body": True})

    async def listen() -> None:
        exchange = Exchange(endless, "/", b"{}")
        assert await exchange.start() == 200
        await asyncio.sleep(0.05)
        pieces = exchange.pieces()
        assert len(await anext(pieces)) <= MAX_PIECE_BYTES
        assert len(exchange._unread) <= MAX_PIECE_BYTES + 100_000
        await exchange.close()

    asyncio.run(listen())


def test_as_many_jobs_as_slots(worker: QueueWorker):
    assert worker.concurrency(1) == 2
