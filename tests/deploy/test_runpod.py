"""RunPod's own SDK with our workers, in processes of their own."""

import base64
import json
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.deploy import processes
from tests.deploy.job_queue import JobQueue, served
from tests.deploy.processes import until

pytestmark = pytest.mark.slow
pytest_plugins = ("tests.speaking",)
FRAMES, FRAME_S = 60, 0.03
NUM_BYTES = round(FRAMES * 0.08 * 24_000) * 2
SPEECH = {"input": "Hello there.", "voice": "af_heart", "response_format": "pcm"}
DIALOGUE = {
    "script": "[S1]Hello.\n[S2]Good day.",
    "voices": {"S1": "af_heart", "S2": "am_michael"},
}
START_S = 60
NO_SDK = "needs the runpod extra: pip install 'fireredtts2[runpod]'"


def settings(checkpoint: Path, folder: Path, **more: object) -> dict[str, str]:
    return processes.environment(
        TEST_CHECKPOINT=checkpoint,
        TEST_FRAMES=FRAMES,
        TEST_FRAME_S=FRAME_S,
        FIREREDTTS2_SLOTS=2,
        FIREREDTTS2_VOICES=folder / "voices",
        **more,
    )


def sound(outputs: list[dict[str, Any]]) -> bytes:
    assert [output["index"] for output in outputs] == list(range(len(outputs)))
    return b"".join(base64.b64decode(output["audio"]) for output in outputs)


def answers(address: str, process: subprocess.Popen[bytes], log: Path) -> bool:
    assert process.poll() is None, log.read_text()[-3_000:]
    try:
        return httpx.get(address).status_code < 500
    except httpx.TransportError:
        return False


# --- The SDK's test server ----------------------------------------------------------------------


@pytest.fixture(scope="module")
def api(voiced_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of `--rp_serve_api`."""
    pytest.importorskip("runpod", reason=NO_SDK)
    folder, port = tmp_path_factory.mktemp("runpod"), processes.free_port()
    log = folder / "log"
    process = processes.python(
        "-m", "tests.deploy.queue_server", "--rp_serve_api", "--rp_api_port", port,
        "--rp_api_host", "127.0.0.1", env=settings(voiced_checkpoint, folder), log=log,
    )  # fmt: skip
    try:
        address = f"http://127.0.0.1:{port}"
        until(lambda: answers(f"{address}/docs", process, log), START_S, "the SDK's server")
        yield address
    finally:
        processes.stop(process)


def test_run_then_stream(api: str):
    job = httpx.post(f"{api}/run", json={"input": SPEECH}).json()
    assert job["status"] == "IN_PROGRESS"
    streamed = httpx.post(f"{api}/stream/{job['id']}", timeout=60).json()
    assert streamed["status"] == "COMPLETED"
    outputs = [part["output"] for part in streamed["stream"]]
    assert len(outputs) > 2, "not streamed"
    assert len(sound(outputs)) == NUM_BYTES


def test_run_then_status(api: str):
    job = httpx.post(f"{api}/run", json={"input": DIALOGUE}).json()
    ended = httpx.post(f"{api}/status/{job['id']}", timeout=60).json()
    assert ended["status"] == "COMPLETED"
    assert {output["format"] for output in ended["output"]} == {"mp3"}


def test_runsync_and_its_errors(api: str):
    ended = httpx.post(f"{api}/runsync", json={"input": SPEECH}, timeout=60).json()
    assert ended["status"] == "COMPLETED"
    assert len(sound(ended["output"])) == NUM_BYTES
    refused = httpx.post(f"{api}/runsync", json={"input": {**SPEECH, "voice": "nobody"}}).json()
    error = json.loads(refused["output"][0]["error"])["error"]
    assert error["code"] == "voice_not_found"


# --- The SDK's loop, before a queue as RunPod's -------------------------------------------------


@pytest.fixture
def jobs(voiced_checkpoint: Path, tmp_path: Path) -> Iterator[JobQueue]:
    """A queue from which a worker of two slots takes jobs."""
    pytest.importorskip("runpod", reason=NO_SDK)
    queue, log = JobQueue(), tmp_path / "log"
    with served(queue) as where:
        env = settings(voiced_checkpoint, tmp_path, **where)
        process = processes.python("-m", "tests.deploy.queue_server", env=env, log=log)
        try:
            yield queue
            assert process.poll() is None, log.read_text()[-3_000:]
        finally:
            processes.stop(process)


def test_jobs_are_taken_heard_cancelled_and_refused(jobs: JobQueue):
    # One alone: sound comes while it is made, then all of it as the job's output.
    jobs.put("one", SPEECH)
    until(lambda: jobs.streamed["one"], START_S, "the first piece")
    assert "one" not in jobs.results, "nothing came before the end"
    until(lambda: "one" in jobs.results, 30, "the end")
    assert len(sound(jobs.streamed["one"])) == NUM_BYTES
    assert jobs.results["one"]["output"] == jobs.streamed["one"]

    # Two at once, for there are two slots; the one that is cancelled stops, the other is whole.
    began = time.monotonic()
    jobs.put("cancelled", SPEECH)
    jobs.put("other", SPEECH)
    until(lambda: jobs.streamed["cancelled"] and jobs.streamed["other"], 30, "both")
    jobs.cancel("cancelled")
    until(lambda: "other" in jobs.results, 30, "the other's end")
    assert time.monotonic() - began < 1.8 * FRAMES * FRAME_S + 4  # the SDK waits a second or two
    assert len(sound(jobs.streamed["other"])) == NUM_BYTES
    assert "cancelled" not in jobs.results
    assert len(sound(jobs.streamed["cancelled"])) < NUM_BYTES

    # A bad one is told so, and the next is well.
    jobs.put("bad", {"prompt": "hello"})
    until(lambda: "bad" in jobs.results, 30, "a refusal")
    error = json.loads(jobs.results["bad"]["error"])["error"]
    assert "needs either `input`" in error["message"]
    jobs.put("last", SPEECH)
    until(lambda: "last" in jobs.results, 30, "one more")
    assert len(sound(jobs.results["last"]["output"])) == NUM_BYTES


# --- The load balancer's worker -----------------------------------------------------------------


def balanced(
    checkpoint: Path, folder: Path, **more: object
) -> tuple[subprocess.Popen[bytes], str, str]:
    """A worker, its address and that for the load balancer."""
    port, health = processes.free_port(), processes.free_port()
    env = settings(
        checkpoint, folder, FIREREDTTS2_HOST="127.0.0.1", PORT=port, PORT_HEALTH=health, **more
    )
    process = processes.python("-m", "tests.deploy.balanced_server", env=env, log=folder / "log")
    return process, f"http://127.0.0.1:{port}", f"http://127.0.0.1:{health}"


def status(address: str) -> int:
    try:
        return httpx.get(f"{address}/ping").status_code
    except httpx.TransportError:
        return 0


def test_the_load_balancer_sees_it_warm_up_and_drain(voiced_checkpoint: Path, tmp_path: Path):
    process, address, health = balanced(voiced_checkpoint, tmp_path, TEST_LOAD_S=2)
    try:
        until(lambda: status(health) == 204, START_S, "warming up")
        assert status(address) == 204
        assert httpx.post(f"{address}/v1/audio/speech", json=SPEECH).status_code == 503
        until(lambda: status(health) == 200, START_S, "ready")
        with httpx.stream("POST", f"{address}/v1/audio/speech", json=SPEECH, timeout=30) as answer:
            pieces = answer.iter_raw()
            heard = len(next(pieces))
            process.send_signal(signal.SIGTERM)  # those who listen hear the end
            heard += sum(map(len, pieces))
        assert heard == NUM_BYTES
        assert process.wait(20) in (0, -signal.SIGTERM)
    finally:
        processes.stop(process)


def test_a_worker_that_cannot_load_ends(voiced_checkpoint: Path, tmp_path: Path):
    process, _, _ = balanced(voiced_checkpoint, tmp_path, TEST_LOAD_S=0, TEST_BROKEN=1)
    try:
        assert process.wait(START_S) == 1
        assert "no such model" in (tmp_path / "log").read_text()
    finally:
        processes.stop(process)
