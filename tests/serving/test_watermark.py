"""Where a key is set, all speech that a server sends carries its mark."""

import base64
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile

from fireredtts2 import FireRedTTS2
from fireredtts2.serving.config import ServingConfig
from fireredtts2.watermark import WatermarkKey, detect
from tests.serving.hosting import client_of, model, say

pytest_plugins = ("tests.speaking",)
SECRET = "a secret of the server"
FRAMES = 60  # 4.8 s


@pytest.fixture
def tts(voiced_checkpoint: Path) -> FireRedTTS2:
    return model(voiced_checkpoint, FRAMES)


def samples(pcm: bytes) -> np.ndarray:
    return np.frombuffer(pcm, "<i2").astype(np.float32) / 32_768


def is_marked(audio: np.ndarray, secret: str = SECRET) -> bool:
    return detect(audio, WatermarkKey(secret)).is_marked


def test_speech_of_every_kind_is_marked(tts: FireRedTTS2, tmp_path: Path) -> None:
    with client_of(tts, tmp_path, watermark_key=SECRET, watermark_payload=9) as client:
        plain = samples(say(client).content)
        found = detect(plain, WatermarkKey(SECRET))
        assert found.is_marked
        assert found.payload == 9
        assert is_marked(samples(say(client, speed=1.2).content))
        turns = [{"speaker": "S1", "text": "One."}, {"speaker": "S2", "text": "Two."}]
        asked = {"turns": turns, "response_format": "wav", "return": ["audio", "stems"]}
        answer = client.post("/v1/audio/dialogue", json=asked).content
        with zipfile.ZipFile(io.BytesIO(answer)) as file:
            for name in ("audio.wav", "stem_S1.wav", "stem_S2.wav"):
                audio, _ = soundfile.read(io.BytesIO(file.read(name)), dtype="float32")
                assert len(audio) == 2 * FRAMES * 1_920
                assert is_marked(audio), name
        with client.websocket_connect("/v1/audio/speech/stream") as socket:
            config = {"type": "session.config", "voice": "af_heart", "audio": "base64"}
            for message in (config, {"type": "input.text", "text": "Hello there."}):
                socket.send_json(message)
            socket.send_json({"type": "input.done"})
            heard = b""
            while (event := json.loads(socket.receive_text()))["type"] != "turn.done":
                heard += base64.b64decode(event.get("audio", ""))
        assert is_marked(samples(heard))


def test_marked_speech_is_as_long_and_nearly_the_same(tts: FireRedTTS2, tmp_path: Path) -> None:
    with client_of(tts, tmp_path) as client:
        plain = samples(say(client, seed=1).content)
    with client_of(tts, tmp_path, watermark_key=SECRET) as client:
        marked = samples(say(client, seed=1).content)
    assert len(plain) == len(marked)
    assert not is_marked(plain)
    assert is_marked(marked)
    assert np.sum((plain - marked) ** 2) < 0.03 * np.sum(plain**2)


def test_keys_come_from_a_file_or_are_refused(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(SECRET + "\n")
    config = ServingConfig(watermark_key_path=tmp_path / "key", watermark_payload=3)
    assert config.watermark == WatermarkKey(SECRET, 3)
    assert ServingConfig().watermark is None
    assert SECRET not in repr(ServingConfig(watermark_key=SECRET))
    for values, said in (
        ({"watermark_key": "short"}, "at least 8"),
        ({"watermark_key": SECRET, "watermark_payload": 70_000}, "payload"),
        ({"watermark_key": SECRET, "watermark_key_path": tmp_path / "key"}, "one of them"),
        ({"watermark_key_path": tmp_path / "none"}, "none"),
    ):
        with pytest.raises(ValueError, match=said):
            ServingConfig(**values)
