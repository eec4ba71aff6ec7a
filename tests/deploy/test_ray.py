"""A real local Ray cluster with two replicas of a tiny model, one of which is killed."""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
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


@dataclass(frozen=True)
class Fleet:
    """A cluster in a process of its own."""

    process: subprocess.Popen[bytes]
    log: Path

    def resize(self, num_replicas: int, timeout_s: float = 120) -> None:
        """Has so many replicas, and waits until it says so."""
        before = self._num_ready()
        assert self.process.stdin is not None
        self.process.stdin.write(b"%d\n" % num_replicas)
        self.process.stdin.flush()
        processes.until(
            lambda: self.process.poll() is not None or self._num_ready() > before,
            timeout_s,
            f"{num_replicas} replicas",
        )
        assert self.process.poll() is None, self.log.read_text()[-3_000:]

    def _num_ready(self) -> int:
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
        RAY_USAGE_STATS_ENABLED=0,
    )
    log = folder / "log"
    port = address.rpartition(":")[2]
    process = processes.python("-m", "tests.deploy.fleet_server", port, env=env, log=log)
    try:
        fleet = Fleet(process, log)
        fleet.resize(2)
        yield fleet
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(60)
        finally:
            processes.stop(process)


@pytest.fixture(scope="module")
def client(fleet: Fleet, address: str) -> Iterator[httpx.Client]:
    """A client of two replicas."""
    with httpx.Client(base_url=address, timeout=60) as client:
        processes.until(lambda: len(replicas(client)) == 2, 60, "two replicas that answer")
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
    return {int(client.get("/health").headers["X-Process"]) for _ in range(20)}


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


def test_sound_arrives_while_it_is_made(client: httpx.Client):
    began, arrivals = time.monotonic(), []
    with client.stream("POST", "/v1/audio/speech", json=BODY) as answer:
        for _ in answer.iter_raw():
            arrivals.append(time.monotonic() - began)
    assert arrivals[-1] > FRAMES * FRAME_S
    assert arrivals[0] < arrivals[-1] / 3


def test_errors_are_the_apis_own(client: httpx.Client):
    answer = client.post("/v1/audio/speech", json={**BODY, "voice": "nobody"})
    assert answer.status_code == 400
    assert "known voices" in answer.json()["error"]["message"]


def test_a_listener_who_goes_frees_the_slot(client: httpx.Client):
    session = SESSIONS[0]
    headers = {"X-Session-Id": session}
    with client.stream("POST", "/v1/audio/speech", json=BODY, headers=headers) as answer:
        next(answer.iter_raw())
        assert "fireredtts2_slots_live 1.0" in client.get("/metrics", headers=headers).text
    processes.until(
        lambda: "fireredtts2_slots_live 0.0" in client.get("/metrics", headers=headers).text,
        FRAMES * FRAME_S / 2,
        "a free slot",
    )


def test_too_many_are_told_to_come_back(client: httpx.Client):
    answers: list[httpx.Response] = []
    room = 2 * (SLOTS + QUEUE) + IN_PROXY
    threads = [
        threading.Thread(target=lambda: answers.append(client.post("/v1/audio/speech", json=BODY)))
        for _ in range(room + 6)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    refused = [answer for answer in answers if answer.status_code != 200]
    assert len(answers) - len(refused) >= 2 * SLOTS
    assert refused
    for answer in refused:
        assert (answer.status_code, answer.headers["Retry-After"]) == (429, "2"), answer.text


def test_a_replica_that_is_killed_takes_only_its_own_listeners_along(client: httpx.Client):
    before = replicas(client)
    (doomed, doomed_session), (other, other_session) = before.items()
    victims = [Listener(client, doomed_session) for _ in range(2)]
    lucky = [Listener(client, other_session) for _ in range(2)]
    for listener in victims + lucky:
        listener.start()
    for listener in victims + lucky:
        assert listener.began.wait(20)
    os.kill(doomed, signal.SIGKILL)
    for listener in victims + lucky:
        listener.join(30)

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
    moved.join(60)
    assert (moved.error, moved.num_bytes) == (None, NUM_BYTES), "not served after the death"
    assert moved.process != doomed

    # The conversations of the dead one have moved and stay; new ones find the replica in its place.
    processes.until(lambda: len(spread(client)) == 2, 90, "a replica in its place")
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
    for listener in listeners:
        listener.start()
    for listener in listeners:
        assert listener.began.wait(20)
    fleet.resize(1)
    for listener in listeners:
        listener.join(60)
        assert (listener.error, listener.num_bytes) == (None, NUM_BYTES), "not drained"
    assert {listener.process for listener in listeners} == set(homes)
    processes.until(lambda: len(spread(client)) == 1, 60, "one replica only")


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
