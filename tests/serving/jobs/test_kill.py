"""A server that is killed in the middle of a job: the next one goes on, and nothing differs."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from fastapi.testclient import TestClient

from fireredtts2.serving.jobs.folder import JobFolder
from tests.serving.jobs.stores import redis_server
from tests.serving.jobs.waiting import asked, created, stands

pytest_plugins = ("tests.speaking",)

SCRIPT = "\n".join(f"[S{1 + n % 2}] This is turn number {n}. [pause:100ms] Yes." for n in range(4))
NUM_TURNS = 8
ROOT = Path(__file__).resolve().parents[3]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@contextmanager
def server(
    checkpoint: Path, folder: Path, *more: str
) -> Iterator[tuple[subprocess.Popen, httpx.Client]]:
    port = free_port()
    command = [sys.executable, "-m", "tests.serving.jobs.killed_server", str(checkpoint)]
    environ = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([*command, str(folder), str(port), *more], cwd=ROOT, env=environ)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
            ends_at = time.monotonic() + 60
            while True:
                try:
                    client.get("/health")
                    break
                except httpx.TransportError:
                    assert process.poll() is None, "the server did not start"
                    assert time.monotonic() < ends_at
                    time.sleep(0.05)
            yield process, client
    finally:
        process.kill()
        process.wait(10)


@pytest.mark.slow
def test_a_killed_servers_job_is_the_uncut_one(
    voiced_checkpoint: Path, client: TestClient, tmp_path: Path
):
    uncut = created(client, script=SCRIPT, stems=True, subtitles=["vtt"])
    names = stands(client, uncut, "done", "failed")["files"]
    folder = tmp_path / "killed"
    with server(voiced_checkpoint, folder) as (process, first):
        id = created(first, script=SCRIPT, stems=True, subtitles=["vtt"])
        while first.get(f"/v1/jobs/{id}").json()["turns_done"] < 3:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait(10)
    reported = len(list(JobFolder(folder / id).turns()))
    assert 3 <= reported < NUM_TURNS
    times = {path: path.stat().st_mtime_ns for path in (folder / id / "turns").glob("[0-9]*")}
    with server(voiced_checkpoint, folder) as (_, second):
        assert stands(second, id, "done", "failed")["state"] == "done"
        for name in names:
            mine = second.get(f"/v1/jobs/{id}/files/{name}")
            assert mine.status_code == 200
            assert mine.content == client.get(f"/v1/jobs/{uncut}/files/{name}").content, name
    # Nothing was made twice.
    assert {path: path.stat().st_mtime_ns for path in times} == times
    ours, theirs = JobFolder(tmp_path / "jobs" / uncut), JobFolder(folder / id)
    pairs = list(zip(ours.turns(), theirs.turns(), strict=True))
    assert len(pairs) == NUM_TURNS
    for one, other in pairs:
        assert (one.audio == other.audio).all()
        assert (one.codes == other.codes).all()


@pytest.mark.slow
def test_a_dead_servers_job_is_taken_by_another_once(
    voiced_checkpoint: Path, client: TestClient, tmp_path: Path
):
    uncut = created(client, script=SCRIPT)
    stands(client, uncut, "done")
    folder = tmp_path / "shared"
    with (
        redis_server() as url,
        server(voiced_checkpoint, folder, url) as (first, one),
        server(voiced_checkpoint, folder, url) as (_, two),
        server(voiced_checkpoint, folder, url) as (_, three),
    ):
        ids = [created(one, **{**asked(), "script": SCRIPT}) for _ in range(3)]
        while two.get(f"/v1/jobs/{ids[0]}").json()["turns_done"] < 2:
            time.sleep(0.02)
        first.send_signal(signal.SIGKILL)
        for id in ids:
            assert stands(two, id, "done", "failed")["state"] == "done"
            whole = three.get(f"/v1/jobs/{id}/files/audio.wav").content
            assert whole == client.get(f"/v1/jobs/{uncut}/files/audio.wav").content
            text = two.get(f"/v1/jobs/{id}/events").text
            turns = [line for line in text.split("\n") if line.startswith("data: ")]
            assert len(turns) == len(set(turns))
