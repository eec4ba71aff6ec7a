"""A real local Ray cluster with two replicas of a tiny model, one of which is killed."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

pytest.importorskip("ray", reason="needs the ray extra: pip install 'fireredtts2[ray]'")

from tests.deploy import processes

pytestmark = pytest.mark.slow
pytest_plugins = ("tests.speaking",)
FRAMES, FRAME_S = 100, 0.03
NUM_BYTES = round(FRAMES * 0.08 * 24_000) * 2
BODY = {"input": "Hello there.", "voice": "af_heart", "response_format": "pcm"}
SESSIONS = [f"conversation-{number}" for number in range(20)]
SLOTS, QUEUE, IN_PROXY = 2, 2, 4
PATIENCE_S = 120  # with a loaded machine
START_S = 400  # of a cluster there, whose processes all import torch


@dataclass(frozen=True)
class Fleet:
    """A cluster in a process of its own."""

    process: subprocess.Popen[bytes]
    log: Path
    slow: Path

    def ask_for(self, num_replicas: int) -> None:
        """Is to have so many replicas."""
        assert self.process.stdin is not None
        self.process.stdin.write(b"%d\n" % num_replicas)
        self.process.stdin.flush()

    def wait_for(self, num_sizes: int, timeout_s: float = PATIENCE_S) -> None:
        """Waits until it has had so many sizes."""
        processes.until(
            lambda: self.process.poll() is not None or self.num_sizes >= num_sizes,
            timeout_s,
            f"{num_sizes} sizes",
        )
        assert self.process.poll() is None, self.log.read_text()[-3_000:]

    @contextmanager
    def slowly(self) -> Iterator[None]:
        """No turn ends meanwhile: one takes more than a minute."""
        self.slow.touch()
        try:
            yield
        finally:
            self.slow.unlink()

    @property
    def num_sizes(self) -> int:
        return self.log.read_text().splitlines().count("ready")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"http://127.0.0.1:{processes.free_port()}"


@pytest.fixture(scope="module")
def fleet(
    voiced_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory, address: str
) -> Iterator[Fleet]:
    """Two replicas."""
    folder = tmp_path_factory.mktemp("ray")
    env = processes.environment(
        TEST_CHECKPOINT=voiced_checkpoint,
        TEST_FRAMES=FRAMES,
        TEST_FRAME_S=FRAME_S,
        FIREREDTTS2_SLOTS=SLOTS,
        FIREREDTTS2_QUEUE=QUEUE,
        FIREREDTTS2_VOICES=folder / "voices",
        TEST_SLOW=folder / "slow",
        RAY_USAGE_STATS_ENABLED=0,
        RAY_worker_niceness=0,  # usually 15 more than ours: beside other work they hardly run
        RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S=60,  # usually 5
    )
    log = folder / "log"
    port = address.rpartition(":")[2]
    process = processes.python("-m", "tests.deploy.fleet_server", port, env=env, log=log)
    try:
        fleet = Fleet(process, log, folder / "slow")
        fleet.ask_for(2)
        fleet.wait_for(1, START_S)
        yield fleet
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(PATIENCE_S)
        finally:
            processes.stop(process)


@pytest.fixture(scope="module")
def client(fleet: Fleet, address: str) -> Iterator[httpx.Client]:
    """A client of two replicas."""
    with httpx.Client(base_url=address, timeout=PATIENCE_S) as client:
        processes.until(lambda: len(replicas(client)) == 2, PATIENCE_S, "two replicas that answer")
        yield client


def replica_of(client: httpx.Client, session: str) -> int:
    """The process that answers a session."""
    answer = client.get("/health", headers={"X-Session-Id": session})
    assert answer.status_code == 200, answer.text
    return int(answer.headers["X-Process"])


def replicas(client: httpx.Client) -> dict[int, str]:
    """The processes that answer, each with a session that is at home there."""
    return {replica_of(client, session): session for session in SESSIONS}


def spread(client: httpx.Client) -> set[int]:
    """The processes that answer requests of no session."""
    answers = [client.get("/health") for _ in range(20)]
    return {int(answer.headers["X-Process"]) for answer in answers if answer.status_code == 200}


def slots_live(client: httpx.Client, session: str) -> int:
    """Turns that are spoken where a session is at home."""
    text = client.get("/metrics", headers={"X-Session-Id": session}).text
    (line,) = [line for line in text.splitlines() if line.startswith("fireredtts2_slots_live ")]
    return int(float(line.split()[1]))


class Listener(threading.Thread):
    """Hears a turn to its end, or to its error."""

    def __init__(self, client: httpx.Client, session: str) -> None:
        super().__init__()
        self.client, self.session = client, session
        self.process = self.num_bytes = 0
        self.error: Exception | None = None
        self.began = threading.Event()

    def run(self) -> None:
        headers = {"X-Session-Id": self.session}
        try:
            with self.client.stream(
                "POST", "/v1/audio/speech", json=BODY, headers=headers
            ) as answer:
                answer.raise_for_status()
                self.process = int(answer.headers["X-Process"])
                for piece in answer.iter_raw():
                    self.num_bytes += len(piece)
                    self.began.set()
        except Exception as error:
            self.error = error
        self.began.set()


def test_a_conversation_stays_where_it_is_and_many_are_spread(client: httpx.Client):
    homes = {session: replica_of(client, session) for session in SESSIONS}
    assert len(set(homes.values())) == 2
    for _ in range(3):
        assert {session: replica_of(client, session) for session in SESSIONS} == homes
    with_header_as_a_proxy_writes_it = client.get("/health", headers={"x_session_id": SESSIONS[0]})
    assert int(with_header_as_a_proxy_writes_it.headers["X-Process"]) == homes[SESSIONS[0]]


def test_requests_without_a_session_are_spread(client: httpx.Client):
    assert len(spread(client)) == 2


def test_sound_arrives_while_it_is_made(fleet: Fleet, client: httpx.Client):
    session = SESSIONS[0]
    headers = {"X-Session-Id": session}
    with (
        fleet.slowly(),
        client.stream("POST", "/v1/audio/speech", json=BODY, headers=headers) as answer,
    ):
        assert 0 < len(next(answer.iter_raw())) < NUM_BYTES
        assert slots_live(client, session) == 1, "all was made before the first of it came"
    began, num_bytes = time.monotonic(), 0
    with client.stream("POST", "/v1/audio/speech", json=BODY, headers=headers) as answer:
        for piece in answer.iter_raw():
            num_bytes += len(piece)
    assert num_bytes == NUM_BYTES
    assert time.monotonic() - began > FRAMES * FRAME_S


def test_errors_are_the_apis_own(client: httpx.Client):
    answer = client.post("/v1/audio/speech", json={**BODY, "voice": "nobody"})
    assert answer.status_code == 400
    assert "known voices" in answer.json()["error"]["message"]


def test_a_listener_who_goes_frees_the_slot(fleet: Fleet, client: httpx.Client):
    session = SESSIONS[0]
    headers = {"X-Session-Id": session}
    with fleet.slowly():
        with client.stream("POST", "/v1/audio/speech", json=BODY, headers=headers) as answer:
            next(answer.iter_raw())
            assert slots_live(client, session) == 1
        # The turn's own end is FRAMES seconds away.
        processes.until(lambda: slots_live(client, session) == 0, FRAMES / 2, "a free slot")


def test_too_many_are_told_to_come_back(fleet: Fleet, client: httpx.Client):
    answers: list[httpx.Response] = []
    threads: list[threading.Thread] = []

    def ask() -> None:
        answers.append(client.post("/v1/audio/speech", json=BODY))

    def is_refused_at_last() -> bool:
        # Ray counts who waits when a request comes, and not those that replicas then send back: of
        # many that come at once more wait than may, and those after them are refused.
        threads.append(threading.Thread(target=ask))
        threads[-1].start()
        return bool(answers)

    room = 2 * (SLOTS + QUEUE) + IN_PROXY
    with fleet.slowly():
        for _ in range(room):
            is_refused_at_last()
        processes.until(is_refused_at_last, PATIENCE_S / 2, "an answer to one who cannot wait")
        assert all(answer.status_code == 429 for answer in answers)
    for thread in threads:
        thread.join()
    assert len(answers) == len(threads), "who was not refused was not served"
    refused = [answer for answer in answers if answer.status_code != 200]
    assert len(answers) - len(refused) >= 2 * SLOTS
    for answer in refused:
        assert (answer.status_code, answer.headers["Retry-After"]) == (429, "2"), answer.text


def begun(listeners: list[Listener]) -> None:
    """All of them hear something."""
    for listener in listeners:
        listener.start()
    for listener in listeners:
        assert listener.began.wait(PATIENCE_S)
        assert listener.error is None, repr(listener.error)


def test_a_replica_that_is_killed_takes_only_its_own_listeners_along(
    fleet: Fleet, client: httpx.Client
):
    before = replicas(client)
    (doomed, doomed_session), (other, other_session) = before.items()
    victims = [Listener(client, doomed_session) for _ in range(2)]
    lucky = [Listener(client, other_session) for _ in range(2)]
    with fleet.slowly():
        begun(victims + lucky)
        os.kill(doomed, signal.SIGKILL)
        for victim in victims:
            victim.join(PATIENCE_S)
        assert all(listener.is_alive() for listener in lucky)
    for listener in lucky:
        listener.join(PATIENCE_S)

    for victim in victims:
        assert victim.process == doomed
        assert 0 < victim.num_bytes < NUM_BYTES
        # Not a short file that looks whole: the last chunk is missing, and the client says so.
        assert isinstance(victim.error, httpx.RemoteProtocolError), repr(victim.error)
    for listener in lucky:
        assert (listener.process, listener.error) == (other, None)
        assert listener.num_bytes == NUM_BYTES

    moved = Listener(client, doomed_session)
    moved.start()
    moved.join(PATIENCE_S)
    assert (moved.error, moved.num_bytes) == (None, NUM_BYTES), "not served after the death"
    assert moved.process != doomed

    # The conversations of the dead one have moved and stay; new ones find the replica in its place.
    processes.until(lambda: len(spread(client)) == 2, PATIENCE_S, "a replica in its place")
    assert other in spread(client)
    assert doomed not in spread(client)
    assert replica_of(client, other_session) == other
    assert replica_of(client, doomed_session) == moved.process


def test_a_replica_that_is_taken_away_lets_its_listeners_hear_the_end(
    fleet: Fleet, client: httpx.Client
):
    homes = {replica_of(client, f"late-{number}"): f"late-{number}" for number in range(20)}
    assert len(homes) == 2
    listeners = [Listener(client, session) for session in homes.values()]
    with fleet.slowly():
        begun(listeners)
        num_sizes = fleet.num_sizes
        fleet.ask_for(1)
        processes.until(lambda: len(spread(client)) == 1, PATIENCE_S, "one that new ones go to")
        assert all(listener.is_alive() for listener in listeners)
    fleet.wait_for(num_sizes + 1)
    for listener in listeners:
        listener.join(PATIENCE_S)
        assert (listener.error, listener.num_bytes) == (None, NUM_BYTES), "not drained"
    assert {listener.process for listener in listeners} == set(homes)
    assert len(spread(client)) == 1


def test_the_file_for_clusters_is_what_serve_takes():
    yaml = pytest.importorskip("yaml")
    from ray.serve import Application
    from ray.serve.schema import ServeDeploySchema

    from fireredtts2.serving.ray.fleet import FleetArguments
    from fireredtts2.serving.ray.fleet import fleet as fleet_builder

    text = (processes.ROOT / "deploy" / "ray" / "serve.yaml").read_text("utf-8")
    (application,) = ServeDeploySchema.model_validate(yaml.safe_load(text)).applications
    module, _, name = application.import_path.partition(":")
    assert (module, name) == ("fireredtts2.serving.ray.fleet", "fleet")
    assert FleetArguments.model_validate(application.args).max_replicas == 4
    assert isinstance(fleet_builder({"max_replicas": "2", "num_cpus": "0.5"}), Application)
    with pytest.raises(ValueError, match="more than max_replicas"):
        FleetArguments(min_replicas=3, max_replicas=2)


def test_replicas_share_jobs_through_redis_or_keep_none(tmp_path: Path):
    from ray.serve import Application

    from fireredtts2.serving.config import ServingConfig
    from fireredtts2.serving.jobs.config import JobsConfig
    from fireredtts2.serving.ray.fleet import FleetArguments, fleet_of

    alone = JobsConfig(tmp_path)
    shared = JobsConfig(tmp_path, redis_url="redis://redis")
    one, two = FleetArguments(), FleetArguments(max_replicas=2)
    told = "^FIREREDTTS2_JOBS=.* with max_replicas 2: .* set FIREREDTTS2_JOBS_REDIS"
    with pytest.raises(ValueError, match=told):
        fleet_of(ServingConfig(jobs=alone), two)
    for jobs, arguments in ((alone, one), (shared, two), (JobsConfig(), two)):
        assert isinstance(fleet_of(ServingConfig(jobs=jobs), arguments), Application)
