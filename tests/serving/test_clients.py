"""A server on a port, and the clients that people have."""

import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import openai
import pytest
import uvicorn

from fireredtts2 import FireRedTTS2
from fireredtts2.audio import read_audio
from fireredtts2.config import OUTPUT_RATE_HZ
from fireredtts2.serving.app import create_app
from fireredtts2.serving.config import ServingConfig
from tests.tiny import script_turns

pytest_plugins = ("tests.speaking",)
FRAMES = 12
SECONDS = FRAMES * 0.08


@pytest.fixture
def tts(voiced_checkpoint: Path) -> FireRedTTS2:
    model = FireRedTTS2(voiced_checkpoint, device="cpu", num_slots=2)
    script_turns(model.studio.engine, *[FRAMES] * 500)
    return model


@pytest.fixture
def address(tts: FireRedTTS2, tmp_path: Path) -> Iterator[str]:
    """Of a server that runs."""
    app = create_app(ServingConfig(num_slots=2, voices_path=tmp_path), tts)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        server = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        server.should_exit = True
        thread.join(10)


@pytest.fixture
def client(address: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{address}/v1", api_key="unused", max_retries=0)


def test_openais_client_works_unchanged(client: openai.OpenAI, tmp_path: Path):
    path = tmp_path / "speech.mp3"
    with client.audio.speech.with_streaming_response.create(
        model="tts-1", voice="af_heart", input="Hello there."
    ) as answer:
        answer.stream_to_file(path)
    assert read_audio(path, OUTPUT_RATE_HZ).shape[0] == pytest.approx(
        SECONDS * OUTPUT_RATE_HZ, rel=0.1
    )
    assert "tts-1" in [model.id for model in client.models.list()]


def test_openais_client_hears_it_while_it_is_made(client: openai.OpenAI):
    with client.audio.speech.with_streaming_response.create(
        model="tts-1", voice="af_heart", input="Hello there.", response_format="pcm"
    ) as answer:
        pieces = list(answer.iter_bytes(chunk_size=None))
    assert len(pieces) > 2
    assert sum(map(len, pieces)) == round(SECONDS * OUTPUT_RATE_HZ) * 2


def test_openais_client_raises_its_own_errors(client: openai.OpenAI):
    with pytest.raises(openai.BadRequestError, match="known voices"):
        client.audio.speech.create(model="tts-1", voice="nobody", input="Hello there.")


def test_a_client_that_goes_frees_its_slot(client: openai.OpenAI, tts: FireRedTTS2):
    script_turns(tts.studio.engine, None, *[FRAMES] * 9)
    with client.audio.speech.with_streaming_response.create(
        model="tts-1", voice="af_heart", input="Hello there.", response_format="pcm"
    ) as answer:
        next(answer.iter_bytes(chunk_size=1_000))
    deadline = time.time() + 10
    while tts.studio.engine.scheduler.live and time.time() < deadline:
        time.sleep(0.02)
    assert tts.studio.engine.scheduler.live == []


def test_many_listeners_hear_what_each_would_alone(client: openai.OpenAI):
    def hear(seed: int) -> np.ndarray:
        answer = client.audio.speech.create(
            model="tts-1",
            voice="af_heart",
            input=f"Number {seed}.",
            response_format="pcm",
            extra_body={"seed": seed},
        )
        return np.frombuffer(answer.content, "<i2")

    heard: dict[int, np.ndarray] = {}
    threads = [
        threading.Thread(target=lambda seed=seed: heard.update({seed: hear(seed)}))
        for seed in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for seed in range(8):
        difference = heard[seed].astype(int) - hear(seed).astype(int)
        assert np.abs(difference).max() <= 2, seed


def test_elevenlabs_client_works_unchanged(address: str, tmp_path: Path):
    elevenlabs = pytest.importorskip("elevenlabs.client")
    client = elevenlabs.ElevenLabs(base_url=address, api_key="unused")
    # It wants TLS for its WebSocket, which a proxy before the server would have.
    client.text_to_speech._ws_base_url = address.replace("http", "ws")
    pieces = list(
        client.text_to_speech.stream(
            voice_id="af_heart", text="Hello there.", output_format="pcm_24000"
        )
    )
    assert sum(map(len, pieces)) == round(SECONDS * OUTPUT_RATE_HZ) * 2
    whole = b"".join(client.text_to_speech.convert(voice_id="af_heart", text="Hello there."))
    assert read_audio(whole, OUTPUT_RATE_HZ).shape[0] > 0
    texts = iter(["Hello there. ", "How are you?"])
    spoken = client.text_to_speech.convert_realtime(
        voice_id="af_heart", text=texts, output_format="pcm_24000"
    )
    assert sum(map(len, spoken)) == 2 * round(SECONDS * OUTPUT_RATE_HZ) * 2
