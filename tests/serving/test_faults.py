"""What breaks while somebody listens, and that the others do not notice."""

import contextlib
import errno
import http.client
import json
import os
import socket
import time
from pathlib import Path

import pytest

from fireredtts2 import FireRedTTS2
from fireredtts2.serving.limits import Limits
from tests.serving.hosting import app_of, client_of, model, say, serving, until, upload

pytest_plugins = ("tests.speaking",)
LONG = 3_000  # frames: four minutes


@pytest.fixture
def tts(voiced_checkpoint: Path) -> FireRedTTS2:
    return model(voiced_checkpoint)


def request(**values) -> bytes:
    body = json.dumps({"input": "Hi.", "voice": "af_heart", **values}).encode()
    head = f"POST /v1/audio/speech HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"Content-Type: application/json\r\n\r\n" + body


def live(tts: FireRedTTS2) -> int:
    return len(tts.studio.engine.scheduler.live)


def next_turns(tts: FireRedTTS2, frames: int) -> None:
    lengths = tts.studio.engine.model_runner.lengths
    lengths.clear()
    lengths.extend([frames] * 100)


def break_after(tts: FireRedTTS2, steps: int, monkeypatch) -> None:
    """The engine's frames fail once so many were made."""
    runner = tts.studio.engine.model_runner
    launch, made = runner.launch, [0]

    def failing(slots: object) -> object:
        made[0] += 1
        if made[0] > steps:
            raise RuntimeError("the device fell off the bus")
        return launch(slots)

    monkeypatch.setattr(runner, "launch", failing)


def test_a_client_that_goes_frees_its_slot(voiced_checkpoint: Path, tmp_path: Path):
    tts = model(voiced_checkpoint, frames=LONG)
    app = app_of(tts, tmp_path)
    with serving(app) as at:
        for _ in range(3):
            with socket.create_connection(at) as connection:
                connection.sendall(request(response_format="pcm"))
                assert connection.recv(65_536)
            until(lambda: app.state.server.num_under_way == 0)
        next_turns(tts, 4)
        connection = http.client.HTTPConnection(*at)
        body = json.dumps({"input": "Hi.", "voice": "af_heart"})
        connection.request("POST", "/v1/audio/speech", body, {"content-type": "application/json"})
        assert connection.getresponse().read()
        connection.close()
    assert live(tts) == 0


def test_a_slow_reader_is_dropped_and_held_up_meanwhile(voiced_checkpoint: Path, tmp_path: Path):
    tts = model(voiced_checkpoint, frames=LONG)
    app = app_of(tts, tmp_path, limits=Limits(send_timeout_s=0.5))
    with serving(app) as at, socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        slow.connect(at)
        slow.sendall(request(response_format="wav"))
        until(lambda: app.state.server.num_under_way == 1)
        began = time.monotonic()
        until(lambda: app.state.server.num_under_way == 0, 30)
        assert time.monotonic() - began < 25
        made_s = LONG * 0.08
        figures = app.state.server.metrics.audio._value.get()
        assert figures < made_s * 0.9, "not all was made for one who does not listen"
        slow.settimeout(5)
        with contextlib.suppress(ConnectionError):  # but no time-out: it is closed
            while slow.recv(65_536):
                pass


def test_a_break_in_the_stream_breaks_the_transfer(
    voiced_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    tts = model(voiced_checkpoint, frames=60)
    with serving(app_of(tts, tmp_path)) as at:
        for format in ("pcm", "mp3", "flac"):
            break_after(tts, 20, monkeypatch)
            connection = http.client.HTTPConnection(*at)
            body = json.dumps({"input": "Hi.", "voice": "af_heart", "response_format": format})
            head = {"content-type": "application/json"}
            connection.request("POST", "/v1/audio/speech", body, head)
            answer = connection.getresponse()
            assert answer.status == 200, "it had begun"
            with pytest.raises(http.client.IncompleteRead):
                answer.read()
            connection.close()
            monkeypatch.undo()


def test_a_break_is_told_in_events(tts: FireRedTTS2, tmp_path: Path, monkeypatch):
    with client_of(tts, tmp_path) as client:
        break_after(tts, 6, monkeypatch)
        answer = say(client, stream_format="sse")
        events = [json.loads(line[6:]) for line in answer.text.splitlines() if line]
        assert events[0]["type"] == "speech.audio.delta"
        assert events[-1]["type"] == "error"
        assert set(events[-1]["error"]) == {"message", "type", "param", "code"}
        assert "speech.audio.done" not in answer.text
        monkeypatch.undo()
        assert "speech.audio.done" in say(client, stream_format="sse").text
        assert live(tts) == 0


def test_a_damaged_voice_leaves_the_others(tts: FireRedTTS2, tmp_path: Path):
    with client_of(tts, tmp_path) as client:
        assert upload(client, "anna").status_code == 201
        damaged = tmp_path / "voices" / "bert.safetensors"
        damaged.write_bytes(b"\xff" * 100)
        (tmp_path / "voices" / "cara.safetensors").write_bytes(b"")
        data = {voice["name"]: voice for voice in client.get("/v1/voices").json()["data"]}
        assert "error" in data["bert"]
        assert "error" in data["cara"]
        assert "error" not in data["anna"]
        assert str(tmp_path) not in json.dumps(data)
        assert say(client, voice="anna").status_code == 200
        assert say(client, voice="bert").status_code == 400
        assert client.delete("/v1/voices/bert").status_code == 204
        assert upload(client, "bert").status_code == 201


@pytest.mark.parametrize(
    ("code", "status"), [(errno.ENOSPC, 507), (errno.EROFS, 500), (errno.EACCES, 500)]
)
def test_a_disk_that_takes_nothing_leaves_nothing(
    tts: FireRedTTS2, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, status: int
):
    from fireredtts2 import voices

    def refused(path: Path, *_: object) -> None:
        path.write_bytes(b"half")
        raise OSError(code, os.strerror(code), str(path))

    with client_of(tts, tmp_path) as client:
        monkeypatch.setattr(voices, "write_state", refused)
        answer = upload(client, "anna")
        assert answer.status_code == status
        error = answer.json()["error"]
        assert error["code"] == "storage_failed"
        assert str(tmp_path) not in error["message"]
        assert not [path for path in (tmp_path / "voices").rglob("*") if path.is_file()]
        monkeypatch.undo()
        assert upload(client, "anna").status_code == 201


def test_a_gap_is_counted(tts: FireRedTTS2, tmp_path: Path, monkeypatch):
    runner = tts.studio.engine.model_runner
    launch = runner.launch

    def slowly(slots: object) -> object:
        time.sleep(0.15)
        return launch(slots)

    monkeypatch.setattr(runner, "launch", slowly)
    with client_of(tts, tmp_path) as client:
        assert say(client).status_code == 200
        figures = client.get("/metrics").text
    total = float(figures.split("fireredtts2_gap_seconds_sum ")[1].split()[0])
    assert total > 0.1
    resident = float(figures.split("\nfireredtts2_memory_bytes ")[1].split()[0])
    assert 50e6 < resident < 50e9
