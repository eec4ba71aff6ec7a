"""Jobs over HTTP: what comes out, what is refused, and what disturbs them."""

import errno
import io
import json
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from fastapi.testclient import TestClient

from fireredtts2 import FireRedTTS2
from fireredtts2.config import OUTPUT_RATE_HZ
from fireredtts2.serving.jobs.folder import JobFolder
from fireredtts2.watermark import WatermarkKey, detect
from tests.serving.jobs.waiting import (
    NUM_TURNS,
    SECONDS,
    TOTAL_S,
    VOICES,
    asked,
    created,
    stands,
)

pytest_plugins = ("tests.speaking",)

KEYS = ("the-key-of-anna", "the-key-of-ben")


def file_of(client: TestClient, id: str, name: str) -> bytes:
    answer = client.get(f"/v1/jobs/{id}/files/{name}")
    assert answer.status_code == 200, answer.text
    return answer.content


def samples(data: bytes) -> np.ndarray:
    audio, rate_hz = soundfile.read(io.BytesIO(data), dtype="int16")
    assert rate_hz == OUTPUT_RATE_HZ
    return audio


# --- Results --------------------------------------------------------------------------------------


def test_a_job_is_the_dialogue(client: TestClient, tts: FireRedTTS2):
    id = created(client, subtitles=["srt", "vtt"], stems=True)
    job = stands(client, id, "done", "failed")
    assert job["state"] == "done", job
    assert job["turns_done"] == job["num_turns"] == NUM_TURNS
    assert job["audio_s"] == pytest.approx(TOTAL_S, abs=0.001)
    names = [
        "audio.wav",
        "stem_S1.wav",
        "stem_S2.wav",
        "subtitles.srt",
        "subtitles.vtt",
        "turns.json",
    ]
    assert sorted(job["files"]) == names
    whole = samples(file_of(client, id, "audio.wav"))
    body = {**asked(), "response_format": "wav"}
    heard = client.post("/v1/audio/dialogue", json=body).content
    assert np.abs(whole - samples(heard).astype(int)).max() <= 1  # chunks are longer: rounding
    stems = [samples(file_of(client, id, f"stem_{s}.wav")) for s in ("S1", "S2")]
    assert (stems[0] + stems[1] == whole).all()
    assert "I am." in file_of(client, id, "subtitles.srt").decode()
    turns = json.loads(file_of(client, id, "turns.json"))["turns"]
    assert [turn["speaker"] for turn in turns] == ["S1", "S2", "S1", "S1"]
    assert turns[2]["start_s"] - turns[1]["end_s"] == pytest.approx(0.5, abs=1e-4)


def test_files_carry_the_servers_watermark(client_of):
    secret, long = "a secret of the server", "[S1] One.\n[S2] Two.\n" * 3
    with client_of(watermark_key=secret) as client:
        id = created(client, script=long, formats=["wav", "mp3"], stems=True)
        files = stands(client, id, "done", "failed")["files"]
        for name in ("audio.wav", "audio.mp3", "stem_S1.wav", "stem_S2.wav"):
            assert name in files
            audio, _ = soundfile.read(io.BytesIO(file_of(client, id, name)), dtype="float32")
            assert detect(audio, WatermarkKey(secret)).is_marked, name
            assert not detect(audio, WatermarkKey("another secret")).is_marked


def test_every_format_is_a_file_with_its_chapters(client: TestClient, tmp_path: Path):
    chapters = [
        {"title": "One", "text": "It began.\n\nIt went on."},
        {"title": "Zwei; = two", "turns": [{"speaker": "S1", "text": "It ended."}]},
    ]
    formats = ["wav", "flac", "mp3", "m4b"]
    values = {"script": None, "chapters": chapters, "voice": "af_heart", "voices": {}}
    id = created(client, title="A book", formats=formats, **values)
    assert stands(client, id, "done", "failed")["state"] == "done"
    total_s = 3 * SECONDS + 0.6 + 1.5
    for format in formats:
        path = tmp_path / f"book.{format}"
        path.write_bytes(file_of(client, id, f"audio.{format}"))
        with av.open(str(path)) as container:
            assert container.duration is not None
            assert container.duration / 1e6 == pytest.approx(total_s, abs=0.15)
            if format == "m4b":
                marks = container.chapters()
                assert container.metadata["title"] == "A book"
                assert [mark["metadata"]["title"] for mark in marks] == ["One", "Zwei; = two"]
                second_s = float(marks[1]["start"] * marks[1]["time_base"])
                assert second_s == pytest.approx(2 * SECONDS + 0.6 + 1.5, abs=0.002)
        if shutil.which("ffprobe"):
            command = ["ffprobe", "-v", "error", "-show_chapters", "-of", "json", str(path)]
            told = subprocess.run(command, capture_output=True, text=True, check=True)
            assert told.stderr == ""
            assert len(json.loads(told.stdout)["chapters"]) == (2 if format == "m4b" else 0)


def test_progress_is_told_and_goes_on_where_it_was_heard(client: TestClient):
    id = created(client)
    with client.stream("GET", f"/v1/jobs/{id}/events") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        text = answer.read().decode()
    events = [block.split("\n") for block in text.split("\n\n") if block.startswith("id: ")]
    numbers = [int(lines[0][4:]) for lines in events]
    assert numbers == list(range(1, len(numbers) + 1))
    told = [json.loads(lines[2][6:]) for lines in events]
    assert told[0]["state"] == "queued"
    assert told[-1]["state"] == "done"
    assert [t["turns_done"] for t in told] == sorted(t["turns_done"] for t in told)
    assert {t["turns_done"] for t in told} == set(range(NUM_TURNS + 1))
    headers = {"last-event-id": "3"}
    again = client.get(f"/v1/jobs/{id}/events", headers=headers).text
    assert again == text[text.index("id: 4\n") :]
    headers = {"last-event-id": "x"}
    assert client.get(f"/v1/jobs/{id}/events", headers=headers).status_code == 400


# --- What disturbs them ---------------------------------------------------------------------------


def test_cancelled_between_turns_and_resumed_it_is_the_same(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
):
    uncut = created(client)
    stands(client, uncut, "done")
    wrote, goes_on = threading.Event(), threading.Event()
    write = JobFolder.write

    def stopping(self: JobFolder, index: int, turn: object) -> int:
        num_bytes = write(self, index, turn)
        if index == 1:
            wrote.set()
            assert goes_on.wait(20)
        return num_bytes

    monkeypatch.setattr(JobFolder, "write", stopping)
    id = created(client)
    assert wrote.wait(20)
    assert client.post(f"/v1/jobs/{id}/cancel").json()["state"] == "cancelled"
    goes_on.set()
    monkeypatch.undo()
    assert client.post(f"/v1/jobs/{id}/cancel").status_code == 409
    assert client.post(f"/v1/jobs/{id}/resume").json()["state"] == "queued"
    assert stands(client, id, "done", "failed")["state"] == "done"
    assert file_of(client, id, "audio.wav") == file_of(client, uncut, "audio.wav")
    assert client.post(f"/v1/jobs/{id}/resume").status_code == 409


def test_a_job_that_waits_can_be_cancelled_and_any_can_be_deleted(
    client: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    reached, goes_on = threading.Event(), threading.Event()
    write = JobFolder.write

    def waiting(self: JobFolder, index: int, turn: object) -> int:
        reached.set()
        assert goes_on.wait(20)
        return write(self, index, turn)

    monkeypatch.setattr(JobFolder, "write", waiting)
    running, queued = created(client), created(client)
    assert reached.wait(20)
    assert client.get(f"/v1/jobs/{queued}").json()["state"] == "queued"
    assert client.post(f"/v1/jobs/{queued}/cancel").json()["state"] == "cancelled"
    assert client.delete(f"/v1/jobs/{running}").status_code == 204
    goes_on.set()
    assert client.get(f"/v1/jobs/{running}").status_code == 404
    assert client.delete(f"/v1/jobs/{queued}").status_code == 204
    after = created(client)
    assert stands(client, after, "done", "failed")["state"] == "done"
    assert {path.name for path in (tmp_path / "jobs").glob("job_*")} == {after}


def test_cancelled_while_it_is_assembled(client: TestClient, monkeypatch: pytest.MonkeyPatch):
    reached, goes_on = threading.Event(), threading.Event()
    chunks = JobFolder.chunks

    def waiting(self: JobFolder):
        reached.set()
        assert goes_on.wait(20)
        yield from chunks(self)

    monkeypatch.setattr(JobFolder, "chunks", waiting)
    id = created(client)
    assert reached.wait(20)
    assert client.get(f"/v1/jobs/{id}").json()["stage"] == "assembling"
    assert client.post(f"/v1/jobs/{id}/cancel").status_code == 200
    goes_on.set()
    monkeypatch.undo()
    client.post(f"/v1/jobs/{id}/resume")
    assert stands(client, id, "done", "failed")["state"] == "done"


@pytest.mark.parametrize("place", ["safetensors", "wav"])
def test_a_full_disk_pauses_the_job_and_leaves_nothing_half_written(
    client: TestClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, place: str
):
    import fireredtts2.atomic_file as atomic

    sync, count = atomic._sync, 0

    def full(path: Path) -> None:
        nonlocal count
        if path.suffix == f".{place}" and "voices" not in str(path.parent.name):
            count += 1
            if place == "wav" or count == 2:
                raise OSError(errno.ENOSPC, "No space left on device")
        sync(path)

    monkeypatch.setattr(atomic, "_sync", full)
    id = created(client)
    job = stands(client, id, "paused", "done", "failed")
    assert job["state"] == "paused"
    assert "disk is full" in job["error"]
    assert job["turns_done"] == (1 if place == "safetensors" else NUM_TURNS)
    folder = tmp_path / "jobs" / id
    assert len(list((folder / "turns").iterdir())) == job["turns_done"]
    assert not list((folder / "files").iterdir())
    monkeypatch.undo()
    client.post(f"/v1/jobs/{id}/resume")
    assert stands(client, id, "done", "failed")["state"] == "done"
    assert client.get(f"/v1/jobs/{id}").json()["error"] is None


def test_a_damaged_turn_is_made_again(client: TestClient, tmp_path: Path):
    id = created(client)
    stands(client, id, "done")
    whole = file_of(client, id, "audio.wav")
    folder = JobFolder(tmp_path / "jobs" / id)
    path = folder._path(2)
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)
    assert folder.read(2) is None
    assert len(list(folder.turns())) == 2
    path.write_bytes(b"\xff" * 50)
    assert folder.read(2) is None
    assert whole


def test_an_error_of_the_model_fails_the_job_alone(
    client: TestClient, tts: FireRedTTS2, monkeypatch: pytest.MonkeyPatch
):
    def broken(*_: object) -> None:
        raise RuntimeError("out of luck")

    monkeypatch.setattr(tts.studio.engine.model_runner, "read", broken)
    id = created(client)
    assert stands(client, id, "done", "failed")["state"] == "failed"
    monkeypatch.undo()
    client.post(f"/v1/jobs/{id}/resume")
    assert stands(client, id, "done", "failed")["state"] == "done"


def test_old_jobs_go(client_of, tmp_path: Path):
    with client_of(ttl_s=0.2, lease_s=0.3) as client:
        id = created(client)
        import time

        ends_at = time.monotonic() + 20
        while client.get(f"/v1/jobs/{id}").status_code == 200:
            assert time.monotonic() < ends_at
            client.app.state.jobs._worker.remove_old()
            time.sleep(0.1)
        assert not (tmp_path / "jobs" / id).exists()


# --- Who may see them, and what is refused --------------------------------------------------------


def test_a_key_sees_its_own_jobs_alone(client_of):
    with client_of(api_keys=KEYS) as client:
        client.headers["authorization"] = f"Bearer {KEYS[0]}"
        id = created(client)
        stands(client, id, "done")
        client.headers["authorization"] = f"Bearer {KEYS[1]}"
        assert client.get("/v1/jobs").json()["data"] == []
        for method, path in (
            ("GET", ""), ("GET", "/events"), ("GET", "/files/audio.wav"), ("POST", "/cancel"),
            ("POST", "/resume"), ("DELETE", ""),
        ):  # fmt: skip
            assert client.request(method, f"/v1/jobs/{id}{path}").status_code == 404, path
        client.headers["authorization"] = f"Bearer {KEYS[0]}"
        assert [job["id"] for job in client.get("/v1/jobs").json()["data"]] == [id]


def test_names_hold_no_paths(client: TestClient):
    id = created(client)
    stands(client, id, "done")
    for name in (
        "../jobs.sqlite", "..%2f..%2fjobs.sqlite", "%2e%2e/turns/000000.safetensors",
        "/etc/passwd", "..%2f", "audio.mp3", "audio.wav/", "audio.wav%00", "....//audio.wav",
    ):  # fmt: skip
        assert client.get(f"/v1/jobs/{id}/files/{name}").status_code == 404, name


def test_jobs_that_are_not_there(client: TestClient):
    for id in ("..", "job_", "job_%2e%2e", "job_" + "f" * 24, "x" * 3_000):
        assert client.get(f"/v1/jobs/{id}").status_code in (404, 307), id
        assert client.delete(f"/v1/jobs/{id}").status_code in (404, 405), id


REFUSED = [
    ({"script": None}, "not none"),
    ({"text": "Hi."}, "text and script"),
    ({"script": "Hi."}, "no speaker"),
    ({"script": "[S1] Hi. [pause:soon] There."}, "cannot read [pause:soon]"),
    ({"script": "[S1] Hi. [pause:99s] There."}, "allowed: 0 to 60"),
    ({"voices": {"S1": "nobody"}}, "known voices"),
    ({"voices": {"S4": "af_heart"}}, "no turn is spoken by 'S4'"),
    ({"formats": ["wma"]}, "formats"),
    ({"formats": []}, "formats"),
    ({"colour": "red"}, "colour"),
    ({"topk": 99_999}, "topk 99999"),
    ({"script": None, "chapters": [{"title": "A", "text": " "}]}, "chapter 1"),
]


def test_jobs_that_are_refused(client: TestClient, tmp_path: Path):
    for values, message in REFUSED:
        answer = client.post("/v1/jobs", json=asked(**values))
        assert answer.status_code == 400, answer.text
        assert message in answer.json()["error"]["message"]
    assert not list((tmp_path / "jobs").glob("job_*"))


def test_limits(client_of):
    with client_of(max_turns=3) as client:
        answer = client.post("/v1/jobs", json=asked())
        assert (answer.status_code, "4 turns" in answer.text) == (400, True)
    with client_of(max_characters=9) as client:
        assert client.post("/v1/jobs", json=asked()).status_code == 400
    with client_of(max_jobs_per_key=1) as client:
        created(client)
        answer = client.post("/v1/jobs", json=asked())
        assert (answer.status_code, "delete some" in answer.text) == (429, True)


def test_without_a_folder_there_are_no_jobs(tts: FireRedTTS2, tmp_path: Path):
    from fireredtts2.serving.app import create_app
    from fireredtts2.serving.config import ServingConfig

    with TestClient(create_app(ServingConfig(voices_path=tmp_path), tts)) as client:
        assert client.post("/v1/jobs", json=asked()).status_code == 501


def test_one_server_a_folder(client_of, tmp_path: Path):
    with client_of() as client:
        with pytest.raises(ValueError, match="another server") as caught:
            client_of()
        assert str(tmp_path / "jobs") in str(caught.value)
        assert "--jobs" in str(caught.value)
        assert client_of(is_optional=True).app.state.jobs is None
        stands(client, created(client), "done")
    with client_of() as after:
        assert len(after.get("/v1/jobs").json()["data"]) == 1


HOLDER = """
import sys, time
from pathlib import Path
from fireredtts2.serving.jobs.service import held_folder
lock = held_folder(Path(sys.argv[1]))
print("held", flush=True)
time.sleep(600)
"""


def test_another_process_holds_the_folder_until_it_is_killed(client_of, tmp_path: Path):
    (tmp_path / "jobs").mkdir()
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "jobs")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            with pytest.raises(ValueError, match="another server keeps its jobs there"):
                client_of()
        finally:
            process.kill()
    with client_of() as client:
        assert stands(client, created(client), "done", "failed")["state"] == "done"


def test_live_requests_are_heard_beside_jobs(client: TestClient):
    ids = [created(client) for _ in range(3)]
    body = {**asked(), "response_format": "pcm", "voices": VOICES}
    for _ in range(3):
        assert client.post("/v1/audio/dialogue", json=body).status_code == 200
    for id in ids:
        assert stands(client, id, "done", "failed")["state"] == "done"
