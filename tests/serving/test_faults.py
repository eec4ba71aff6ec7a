"""What breaks while somebody listens, and that the others do not notice."""

import contextlib
import errno
import http.client
import json
import logging
import os
import socket
import time
from pathlib import Path

import pytest

from fireredtts2 import FireRedTTS2
from fireredtts2.serving.limits import Limits
from fireredtts2.serving.metrics import resident_bytes
from tests.serving import hostile_messages
from tests.serving.hosting import app_of, client_of, model, say, serving, until, upload

logger = logging.getLogger(__name__)
pytest_plugins = ("tests.speaking",)
LONG = 3_000  # frames: four minutes


@pytest.fixture
def tts(voiced_checkpoint: Path) -> FireRedTTS2:
    return model(voiced_checkpoint)


def request(**values) -> bytes:
    body = json.dumps({"input": "Hi.", "voice": "af_heart", **values}).encode()
    head = f"POST /v1/audio/speech HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"Content-Type: application/json\r\n\r\n" + body


def posted(at: tuple[str, int], **values) -> tuple[int, bytes]:
    """One request on a connection of its own: status and body."""
    connection = http.client.HTTPConnection(*at, timeout=60)
    body = json.dumps({"input": "Hi.", "voice": "af_heart", **values})
    connection.request("POST", "/v1/audio/speech", body, {"content-type": "application/json"})
    answer = connection.getresponse()
    with contextlib.closing(connection):
        return answer.status, answer.read()


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
            until(lambda: app.state.server.num_under_way == 0, 2)
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


@pytest.mark.slow  # it takes megabytes of sound until the system's buffers are full
def test_a_socket_that_is_never_read_is_dropped(voiced_checkpoint: Path, tmp_path: Path):
    tts = model(voiced_checkpoint, frames=LONG)
    app = app_of(tts, tmp_path, limits=Limits(send_timeout_s=0.5))
    with serving(app) as at:
        deaf = hostile_messages.RawSocket(at, hostile_messages.LIVE_PATH, buffer_bytes=4_096)
        before, began = resident_bytes(), time.monotonic()
        text = "This is one more sentence. " * 30  # each is cut at 30 s
        for message in ({"type": "input.text", "text": text}, {"type": "input.done"}):
            assert deaf.send(hostile_messages.text(message))
        until(lambda: app.state.server.num_under_way == 1)
        until(lambda: app.state.server.num_under_way == 0, 60)
        took_s, made_s = time.monotonic() - began, app.state.server.metrics.audio._value.get()
        logger.info("dropped after %.0f s, in which %.0f s were made", took_s, made_s)
        until(lambda: live(tts) == 0, 2)
        assert took_s < 38, "else it were uvicorn's pings, after 40 s"
        assert made_s < 30 * 30 * 0.5, "not all was made for one who does not listen"
        assert resident_bytes() - before < 60 * 2**20
        deaf.close()


def test_a_slow_reader_disturbs_nobody(voiced_checkpoint: Path, tmp_path: Path):
    tts = model(voiced_checkpoint, frames=LONG)
    app = app_of(tts, tmp_path, limits=Limits(send_timeout_s=30))
    with serving(app) as at, socket.socket() as slow:
        slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4_096)
        slow.connect(at)
        slow.sendall(request(response_format="wav"))
        until(lambda: live(tts) == 1)
        next_turns(tts, 25)
        for _ in range(5):
            status, sound = posted(at, response_format="pcm")
            assert (status, len(sound)) == (200, 25 * 1_920 * 2)
        slow.close()
        began = time.monotonic()
        until(lambda: live(tts) == 0)
        assert time.monotonic() - began < 2, "its slot is free soon after it went"


def test_a_break_in_a_step_is_that_requests_alone(
    voiced_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    tts = model(voiced_checkpoint)
    with serving(app_of(tts, tmp_path)) as at:
        for _ in range(3):
            break_after(tts, 0, monkeypatch)
            status, told = posted(at, response_format="pcm")
            assert status == 500
            assert set(json.loads(told)["error"]) == {"message", "type", "param", "code"}
            monkeypatch.undo()
            assert posted(at, response_format="pcm")[0] == 200
        assert live(tts) == 0


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


def test_a_server_starts_beside_damaged_voices(tts: FireRedTTS2, tmp_path: Path):
    (tmp_path / "voices").mkdir()
    whole = (tts.voices.path("af_heart")).read_bytes()
    damaged = {"anna": whole[: len(whole) // 2], "bert": bytes(9), "cara": b"\xff" * len(whole)}
    for name, data in damaged.items():
        (tmp_path / "voices" / f"{name}.safetensors").write_bytes(data)
    with client_of(tts, tmp_path) as client:
        told = {voice["name"]: voice for voice in client.get("/v1/voices").json()["data"]}
        for name in damaged:
            assert "error" in told[name]
            assert say(client, voice=name).status_code == 400
            assert client.get(f"/v1/voices/{name}/audio").status_code == 400
        assert say(client).status_code == 200


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
