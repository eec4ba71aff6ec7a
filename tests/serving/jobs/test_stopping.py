"""Jobs that are stopped in mid-turn: at once, and nothing of what was finished is lost."""

import json
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from fireredtts2 import FireRedTTS2
from fireredtts2.engine.front import Front
from fireredtts2.engine.request import FinishReason
from fireredtts2.serving.jobs.job import moved
from fireredtts2.serving.jobs.stoppable import StoppedError, stoppable
from tests.deploy.paced import PacedRunner
from tests.serving.jobs.conftest import ClientOf
from tests.serving.jobs.waiting import FRAMES, created, stands
from tests.tiny import scripted_engine

pytest_plugins = ("tests.speaking",)

FRAME_S = 0.03
LONG = "It goes on and on."
SCRIPT = f"[S1] One.\n[S2] {LONG}\n[S1] Three."
SOON_S = 2.0  # on a loaded machine; the turn's own limit is more than five times as far


@pytest.fixture
def runner(tts: FireRedTTS2) -> PacedRunner:
    """Frames take a while; the second turn never ends, the first time that it is begun."""
    runner: Any = tts.studio.engine.model_runner
    runner.__class__ = PacedRunner
    runner.frame_s = FRAME_S
    runner.lengths = deque([FRAMES, None])
    return runner


def until(found: Callable[[], object], wait_s: float = 30.0) -> float:
    """Waits; how long it took."""
    began = time.monotonic()
    while not found():
        assert time.monotonic() - began < wait_s
        time.sleep(0.005)
    return time.monotonic() - began


def live(tts: FireRedTTS2) -> list[Any]:
    return [slot.job for slot in tts.studio.engine.scheduler.live]


def in_the_long_turn(client: TestClient, tts: FireRedTTS2) -> tuple[str, Any]:
    """A job that is a few frames into its second turn, and the request that is under way."""
    id = created(client, script=SCRIPT)
    until(lambda: client.get(f"/v1/jobs/{id}").json()["turns_done"] == 1)
    until(lambda: live(tts) and len(live(tts)[0].frames) >= 3)
    return id, live(tts)[0]


def test_a_cancelled_turn_stops_within_a_few_frames(
    client: TestClient, tts: FireRedTTS2, runner: PacedRunner
):
    id, request = in_the_long_turn(client, tts)
    assert client.post(f"/v1/jobs/{id}/cancel").json()["state"] == "cancelled"
    told = len(request.frames)
    assert until(lambda: not live(tts)) < SOON_S, "no free slot"
    assert request.finish is FinishReason.CANCELLED
    assert len(request.frames) <= told + 5, "frames that nobody wants"
    assert request.max_frames * FRAME_S > 5 * SOON_S, "it would have ended anyhow"
    assert client.get(f"/v1/jobs/{id}").json()["turns_done"] == 1

    runner.frame_s = 0.0
    runner.lengths.extend([FRAMES] * 2)
    client.post(f"/v1/jobs/{id}/resume")
    assert stands(client, id, "done", "failed")["state"] == "done"
    assert runner.num_started == 4, "one and three once, two twice"
    turns = json.loads(client.get(f"/v1/jobs/{id}/files/turns.json").text)["turns"]
    assert [turn["speaker"] for turn in turns] == ["S1", "S2", "S1"]
    assert not any(turn["was_cut"] for turn in turns)


def test_a_job_that_was_stopped_and_resumed_sounds_as_the_uncut_one(
    client: TestClient, tts: FireRedTTS2, runner: PacedRunner
):
    id, _ = in_the_long_turn(client, tts)
    client.post(f"/v1/jobs/{id}/cancel")
    runner.frame_s = 0.0
    runner.lengths.extend([FRAMES] * 5)
    client.post(f"/v1/jobs/{id}/resume")
    stands(client, id, "done")
    uncut = created(client, script=SCRIPT)
    stands(client, uncut, "done")
    one, other = (client.get(f"/v1/jobs/{i}/files/audio.wav").content for i in (id, uncut))
    assert one == other


def test_a_deleted_job_stops_too_and_the_next_one_begins(
    client: TestClient, tts: FireRedTTS2, runner: PacedRunner, tmp_path: Path
):
    id, request = in_the_long_turn(client, tts)
    assert client.delete(f"/v1/jobs/{id}").status_code == 204
    assert until(lambda: request not in live(tts)) < SOON_S
    runner.lengths.extend([FRAMES] * 4)
    after = created(client)
    assert stands(client, after, "done", "failed")["state"] == "done"
    assert {path.name for path in (tmp_path / "jobs").glob("job_*")} == {after}


def test_another_servers_word_is_heard_as_well(
    client: TestClient, tts: FireRedTTS2, runner: PacedRunner
):
    id, request = in_the_long_turn(client, tts)
    client.app.state.jobs.store.change(id, moved("cancelled"))  # type: ignore[attr-defined]
    assert until(lambda: request not in live(tts)) < SOON_S


def test_a_server_that_closes_lets_go_and_the_next_one_goes_on(
    client_of: ClientOf, tts: FireRedTTS2, runner: PacedRunner
):
    with client_of() as client:
        id, request = in_the_long_turn(client, tts)
        began = time.monotonic()
    assert time.monotonic() - began < SOON_S
    assert request.finish is FinishReason.CANCELLED
    assert not live(tts)
    runner.frame_s = 0.0
    runner.lengths.extend([FRAMES] * 2)
    with client_of() as client:
        assert stands(client, id, "done", "failed")["state"] == "done"
    assert runner.num_started == 4


def test_who_is_cancelled_and_resumed_at_once_is_spoken_by_one_thread(
    client_of: ClientOf, tts: FireRedTTS2, runner: PacedRunner
):
    with client_of(max_running=2) as client:
        id, request = in_the_long_turn(client, tts)
        runner.lengths.extend([FRAMES] * 2)
        client.post(f"/v1/jobs/{id}/cancel")
        client.post(f"/v1/jobs/{id}/resume")
        assert until(lambda: request not in live(tts)) < SOON_S
        assert stands(client, id, "done", "failed")["state"] == "done"
        assert runner.num_started == 4


def test_a_live_request_goes_on_beside_a_job_that_is_cancelled(
    client: TestClient, tts: FireRedTTS2, runner: PacedRunner
):
    id, request = in_the_long_turn(client, tts)
    runner.lengths.append(60)
    body = {"input": "Hello there.", "voice": "af_heart", "response_format": "pcm"}
    answers: list[bytes] = []
    thread = threading.Thread(
        target=lambda: answers.append(client.post("/v1/audio/speech", json=body).content)
    )
    thread.start()
    until(lambda: len(live(tts)) == 2)
    client.post(f"/v1/jobs/{id}/cancel")
    assert until(lambda: request not in live(tts)) < SOON_S
    thread.join(30)
    assert len(answers[0]) == 60 * 1_920 * 2


# --- Where engines have threads of their own ------------------------------------------------------


@pytest.fixture
def front_tts(tts: FireRedTTS2) -> Iterator[FireRedTTS2]:
    engines = [scripted_engine(max_rows=tts.studio.engine.model_runner.max_rows) for _ in "ab"]
    with Front(engines) as front:
        tts.studio.engine = front
        yield tts


@pytest.mark.parametrize("num_other", [0, 2], ids=["spoken", "waiting"])
def test_a_front_is_stopped_in_a_turn_and_before_it(front_tts: FireRedTTS2, num_other: int):
    others = [front_tts.stream_say(LONG, "af_heart", seed=n) for n in range(num_other)]
    for other in others:
        next(other)
    mine, engine = stoppable(front_tts)
    ended: list[BaseException] = []

    def listen() -> None:
        try:
            list(mine.stream_say(LONG, "am_michael", hold_turns=True))
        except BaseException as error:
            ended.append(error)

    thread = threading.Thread(target=listen)
    thread.start()
    scheduler = front_tts.studio.engine.scheduler
    until(lambda: scheduler.num_waiting if num_other else scheduler.live)
    engine.stop()
    thread.join(SOON_S)
    assert not thread.is_alive()
    assert isinstance(ended[0], StoppedError)
    until(lambda: len(scheduler.live) == num_other and not scheduler.num_waiting, SOON_S)
    for other in others:
        other.close()  # type: ignore[attr-defined]
    assert next(front_tts.stream_say("Still there.", "af_heart")) is not None
    with pytest.raises(StoppedError):
        next(mine.stream_say("No more.", "af_heart"))
