"""The HTTP API with a tiny model: what clients get, and what they are told."""

import base64
import io
import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from fastapi.testclient import TestClient

from fireredtts2 import FireRedTTS2
from fireredtts2.adapters import Adapter, AdapterConfig
from fireredtts2.audio import read_audio
from fireredtts2.config import OUTPUT_RATE_HZ
from fireredtts2.serving.app import create_app
from fireredtts2.serving.config import ServingConfig
from fireredtts2.serving.tempo import Tempo
from fireredtts2.training.codec import voice_adaptation
from fireredtts2.training.codec.voice_adaptation import Adaptation, adapt_voice
from tests.tiny import llm, script_turns

pytest_plugins = ("tests.speaking",)
FRAMES = 12
SECONDS = FRAMES * 0.08
KEY = "a-long-enough-key"


@pytest.fixture
def tts(voiced_checkpoint: Path) -> FireRedTTS2:
    """A model whose turns are all of FRAMES frames."""
    model = FireRedTTS2(voiced_checkpoint, device="cpu", num_slots=2)
    script_turns(model.studio.engine, *[FRAMES] * 500)
    return model


def client_of(tts: FireRedTTS2, tmp_path: Path, **values) -> TestClient:
    config = ServingConfig(voices_path=tmp_path / "voices", num_slots=2, **values)
    return TestClient(create_app(config, tts), raise_server_exceptions=False)


@pytest.fixture
def client(tts: FireRedTTS2, tmp_path: Path) -> Iterator[TestClient]:
    with client_of(tts, tmp_path) as made:
        yield made


def clip(seconds: float = 2.0) -> bytes:
    audio = 0.1 * np.random.default_rng(0).standard_normal(int(16_000 * seconds))
    file = io.BytesIO()
    soundfile.write(file, audio, 16_000, format="WAV")
    return file.getvalue()


def ask(client: TestClient, **values):
    body = {"model": "tts-1", "input": "Hello there.", "voice": "af_heart", **values}
    return client.post("/v1/audio/speech", json=body)


# --- Speech -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("format", "media_type"),
    [
        ("mp3", "audio/mpeg"),
        ("opus", "audio/ogg"),
        ("aac", "audio/aac"),
        ("flac", "audio/flac"),
        ("wav", "audio/wav"),
    ],
)
def test_every_format_is_a_file_of_its_kind(client: TestClient, format: str, media_type: str):
    answer = ask(client, response_format=format)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith(media_type)
    audio = read_audio(answer.content, OUTPUT_RATE_HZ)
    assert audio.shape[0] / OUTPUT_RATE_HZ == pytest.approx(SECONDS, abs=0.1)


def test_pcm_is_the_models_own_samples(client: TestClient, tts: FireRedTTS2):
    answer = ask(client, response_format="pcm", seed=5)
    made = np.frombuffer(answer.content, "<i2") / 32_768
    expected = tts.say("Hello there.", "af_heart", seed=5).audio.clamp(-1, 1).numpy()
    assert np.abs(made - expected).max() < 1e-3


def test_sound_comes_while_it_is_made(client: TestClient):
    body = {"input": "Hello there.", "voice": "af_heart", "response_format": "pcm"}
    with client.stream("POST", "/v1/audio/speech", json=body) as answer:
        sizes = [len(piece) for piece in answer.iter_raw()]
    assert len([size for size in sizes if size]) > 3
    assert sum(sizes) == round(SECONDS * OUTPUT_RATE_HZ) * 2


def test_events(client: TestClient):
    answer = ask(client, stream_format="sse", response_format="pcm", seed=5)
    assert answer.headers["content-type"].startswith("text/event-stream")
    events = [json.loads(line[6:]) for line in answer.text.splitlines() if line]
    assert [event["type"] for event in events[:-1]] == ["speech.audio.delta"] * (len(events) - 1)
    assert events[-1]["type"] == "speech.audio.done"
    whole = b"".join(base64.b64decode(event["audio"]) for event in events[:-1])
    assert whole == ask(client, response_format="pcm", seed=5).content


@pytest.mark.parametrize("speed", [0.25, 0.5, 1.5, 4.0])
def test_speed_changes_the_length_alone(client: TestClient, speed: float):
    answer = ask(client, response_format="pcm", speed=speed)
    seconds = len(answer.content) / 2 / OUTPUT_RATE_HZ
    assert seconds == pytest.approx(SECONDS / speed, abs=0.12)


def test_tempo_keeps_the_pitch():
    tone = np.sin(2 * np.pi * 220 * np.arange(OUTPUT_RATE_HZ) / OUTPUT_RATE_HZ)
    tempo = Tempo(2.0, OUTPUT_RATE_HZ)
    parts = [tempo.push(part.astype(np.float32)) for part in np.split(tone, 20)]
    made = np.concatenate([*parts, tempo.flush()])
    peak = np.abs(np.fft.rfft(made)).argmax() * OUTPUT_RATE_HZ / len(made)
    assert peak == pytest.approx(220, abs=4)
    assert len(made) == pytest.approx(OUTPUT_RATE_HZ / 2, rel=0.05)


def test_a_voice_is_cloned_from_a_data_url(client: TestClient):
    url = "data:audio/wav;base64," + base64.b64encode(clip()).decode()
    answer = ask(client, voice=None, ref_audio=url, ref_text="What is said.", task_type="Base")
    assert answer.status_code == 200, answer.text


def test_a_conversation(client: TestClient):
    turns = [
        {"speaker": "S1", "text": "Are you there?"},
        {"speaker": "S2", "text": "I am.", "pause_s": 0.5},
    ]
    voices = {"S1": "af_heart", "S2": "am_michael"}
    body = {"turns": turns, "voices": voices, "response_format": "pcm", "seed": 1}
    answer = client.post("/v1/audio/dialogue", json=body)
    assert answer.status_code == 200, answer.text
    assert len(answer.content) / 2 / OUTPUT_RATE_HZ == pytest.approx(2 * SECONDS + 0.5, abs=0.01)
    script = "[S1] Are you there?\n[pause:0.5s]\n[S2] I am."
    body = {"script": script, "voices": voices, "response_format": "pcm", "seed": 1}
    assert client.post("/v1/audio/dialogue", json=body).content == answer.content


# --- Voices and figures -------------------------------------------------------------------------


def test_voices_come_and_go(client: TestClient):
    form = {"name": "anna", "text": "What is said."}
    added = client.post("/v1/voices", data=form, files={"file": ("clip.wav", clip())})
    assert added.status_code == 201, added.text
    assert added.json()["removable"]
    names = [voice["name"] for voice in client.get("/v1/voices").json()["data"]]
    assert names == ["af_heart", "am_michael", "anna"]
    assert ask(client, voice="anna").status_code == 200
    heard = read_audio(client.get("/v1/voices/anna/audio").content, OUTPUT_RATE_HZ)
    assert heard.shape[0] / OUTPUT_RATE_HZ == pytest.approx(2.0, abs=0.1)
    again = client.post("/v1/voices", data=form, files={"file": ("clip.wav", clip())})
    assert again.status_code == 400
    assert client.delete("/v1/voices/anna").status_code == 204
    assert client.get("/v1/voices/anna").status_code == 404
    assert client.delete("/v1/voices/af_heart").status_code == 400


def test_a_voice_may_be_adapted_to_one_at_a_time(
    client: TestClient, quick_adaptation: Adaptation, monkeypatch: pytest.MonkeyPatch
):
    begun, goes_on = threading.Event(), threading.Event()

    def learn(*args, **kwargs):
        begun.set()
        assert goes_on.wait(20)
        return adapt_voice(*args, **kwargs)

    monkeypatch.setattr(voice_adaptation, "adapt_voice", learn)

    def add(name: str, adapt: bool):
        form = {"name": name, "text": "What is said.", "adapt": str(adapt).lower()}
        return client.post("/v1/voices", data=form, files={"file": ("clip.wav", clip())})

    with ThreadPoolExecutor() as pool:
        first = pool.submit(add, "anna", True)
        assert begun.wait(20)
        second = add("boris", True)
        assert second.status_code == 429
        assert "another voice is being adapted to" in second.json()["error"]["message"]
        assert int(second.headers["Retry-After"]) > 0
        assert not add("clara", False).json()["adapted"]  # needs no turn
        goes_on.set()
        assert first.result().json()["adapted"]
    assert add("boris", True).json()["adapted"]
    assert client.get("/v1/voices/anna").json()["adapted"]
    assert ask(client, voice="anna").status_code == 200
    heard, plain = (client.get(f"/v1/voices/{name}/audio").content for name in ("anna", "clara"))
    assert heard != plain


def test_a_server_that_ends_waits_for_no_adaptation(
    tts: FireRedTTS2, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    app = create_app(ServingConfig(voices_path=tmp_path / "voices", num_slots=2), tts)
    rates: list[int] = []

    def rate(step: int, *_: int) -> float:
        """The server is told to end while the first update is made."""
        app.state.server.is_draining = True
        rates.append(step)
        return 1.0

    monkeypatch.setattr(voice_adaptation, "trapezoid", rate)
    form = {"name": "anna", "text": "What is said.", "adapt": "true"}
    with TestClient(app, raise_server_exceptions=False) as client:
        answer = client.post("/v1/voices", data=form, files={"file": ("clip.wav", clip())})
    assert answer.status_code == 503
    assert "shutting down" in answer.json()["error"]["message"]
    assert rates == [0]
    assert not (tmp_path / "voices" / "anna.safetensors").exists()


def test_figures_tell_what_happened(client: TestClient):
    ask(client)
    ask(client, voice="nobody")
    figures = client.get("/metrics").text
    assert 'requests_total{outcome="done",route="speech"} 1.0' in figures
    assert "fireredtts2_slots 2.0" in figures
    assert "fireredtts2_slots_live 0.0" in figures
    assert "fireredtts2_first_audio_seconds_count 1.0" in figures
    assert client.get("/health").json()["status"] == "ok"
    assert client.get("/ping").status_code == 200
    assert "tts-1" in client.get("/v1/models", headers={}).text


# --- What is refused ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"input": ""}, "nothing to say"),
        ({"input": "?!"}, "nothing to say"),
        ({"input": "a\x00b"}, "control character"),
        ({"input": "[S1]Hello."}, "second speaker tag"),
        ({"input": "word " * 5_000}, "at most 20000"),
        ({"input": None}, "input"),
        ({"voice": "nobody"}, "known voices: af_heart, am_michael"),
        ({"voice": "../../etc/passwd"}, "no voice"),
        ({"voice": 7}, "voice"),
        ({"response_format": "wma"}, "response_format"),
        ({"speed": 9}, "speed"),
        ({"temperature": -1}, "temperature"),
        ({"topk": 99_999}, "topk 99999"),
        ({"seed": -1}, "seed"),
        ({"ref_audio": "https://example.org/a.wav", "ref_text": "Hi."}, "no other address"),
        ({"ref_audio": "/etc/passwd", "ref_text": "Hi."}, "no other address"),
        ({"ref_audio": "data:audio/wav;base64,!!!", "ref_text": "Hi."}, "ref_audio"),
        ({"ref_audio": "data:audio/wav;base64,AAAA", "ref_text": "Hi."}, "not audio"),
        ({"ref_audio": "data:audio/wav;base64,AAAA"}, "ref_text"),
    ],
)
def test_what_is_wrong_is_said_in_the_shape_of_openai(
    client: TestClient, values: dict, message: str
):
    answer = ask(client, **values)
    assert answer.status_code == 400, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert message in error["message"]
    assert error["type"] == "invalid_request_error"
    assert ask(client).status_code == 200, "and the server goes on"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"turns": [], "script": "[S1] Hi."},
        {"turns": []},
        {"turns": [{"speaker": "S9", "text": "Hi."}]},
        {"turns": [{"speaker": "S1", "text": "Hi.", "colour": "red"}]},
        {"script": "[S1] Hi.", "voices": {"S7": "af_heart"}},
        {"script": "[S1] Hi.", "voices": {"S1": "nobody"}},
        [],
        "Hi.",
    ],
)
def test_conversations_that_are_refused(client: TestClient, body: object):
    answer = client.post("/v1/audio/dialogue", json=body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"]["message"]


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 50_000])
def test_bodies_that_are_no_json(client: TestClient, content: bytes):
    headers = {"content-type": "application/json"}
    answer = client.post("/v1/audio/speech", content=content, headers=headers)
    assert answer.status_code == 400
    assert client.get("/nowhere").status_code == 404
    assert "error" in client.get("/nowhere").json()


def test_keys(tts: FireRedTTS2, tmp_path: Path):
    with client_of(tts, tmp_path, api_keys=(KEY,)) as client:
        assert ask(client).status_code == 401
        assert client.get("/v1/voices", headers={"authorization": "Bearer no"}).status_code == 401
        assert client.get("/health").status_code == 200
        client.headers["authorization"] = f"Bearer {KEY}"
        assert ask(client).status_code == 200


def test_uploads_are_bounded(tts: FireRedTTS2, tmp_path: Path):
    with client_of(tts, tmp_path, max_upload_bytes=1_000) as client:
        form = {"name": "anna", "text": "What is said."}
        answer = client.post("/v1/voices", data=form, files={"file": ("clip.wav", clip())})
        assert answer.status_code == 413
        url = "data:audio/wav;base64," + base64.b64encode(clip()).decode()
        assert ask(client, ref_audio=url, ref_text="Hi.").status_code == 413


@pytest.mark.parametrize("name", ["../evil", "a/b", "", "x" * 500, ".hidden"])
def test_a_voices_name_holds_no_path(client: TestClient, tmp_path: Path, name: str):
    form = {"name": name, "text": "What is said."}
    answer = client.post("/v1/voices", data=form, files={"file": ("clip.wav", clip())})
    assert answer.status_code == 400
    assert not list(tmp_path.rglob("*.safetensors"))


def test_a_full_queue_is_429_and_a_draining_server_503(client: TestClient, tts: FireRedTTS2):
    scheduler = tts.studio.engine.scheduler
    scheduler.max_waiting = 0
    answer = ask(client)
    assert answer.status_code == 429
    assert answer.headers["retry-after"]
    assert client.get("/ping").status_code == 503
    scheduler.max_waiting = 9
    client.app.state.server.is_draining = True
    assert ask(client).status_code == 503
    assert client.get("/ping").status_code == 503


def test_a_turn_that_fails_is_said_and_the_server_goes_on(
    client: TestClient, tts: FireRedTTS2, monkeypatch: pytest.MonkeyPatch
):
    def broken(*_: object) -> None:
        raise RuntimeError("out of luck")

    monkeypatch.setattr(tts.studio.engine.model_runner, "read", broken)
    answer = ask(client)
    assert answer.status_code == 500
    assert answer.json()["error"]["type"] == "server_error"
    monkeypatch.undo()
    assert ask(client).status_code == 200
    assert tts.studio.engine.scheduler.live == []


@pytest.mark.parametrize(
    ("values", "message"),
    [({"num_slots": 0}, "num_slots 0"), ({"api_keys": ("short",)}, "fewer than 8")],
)
def test_settings_that_are_refused(values: dict, message: str):
    with pytest.raises(ValueError, match=message):
        ServingConfig(**values)


def test_the_model_of_a_request_may_be_an_adapter(voiced_checkpoint: Path, tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    width = llm().backbone.config.embed_dim
    pairs = {
        "backbone.layers.0.attn.output_proj": (
            torch.randn(2, width, generator=generator),
            torch.randn(width, 2, generator=generator),
        )
    }
    Adapter(AdapterConfig(2, 8.0, "dialogue", "tiny"), pairs).save(tmp_path / "anna")
    tts = FireRedTTS2(voiced_checkpoint, device="cpu", num_slots=2, adapters=[tmp_path / "anna"])
    script_turns(tts.studio.engine, *[6] * 100)
    with client_of(tts, tmp_path) as client:
        names = [one["id"] for one in client.get("/v1/models").json()["data"]]
        assert "anna" in names

        def heard(**values: object) -> bytes:
            body = {"input": "Hello there.", "response_format": "pcm", "seed": 1, **values}
            return client.post("/v1/audio/speech", json=body).content

        sound = {name: heard(model=name) for name in ("tts-1", "x", "anna")}
        assert sound["tts-1"] == sound["x"]
        assert sound["anna"] != sound["x"]
        opened = client.post("/v1/sessions", json={"model": "anna", "seed": 1,
                                                   "voices": {"S1": "af_heart"}})  # fmt: skip
        again = heard(session_id=opened.json()["id"])
        assert len(again) == len(sound["anna"])
