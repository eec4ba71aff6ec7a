"""Both stores keep jobs alike, whoever changes them at the same time."""

import dataclasses
import itertools
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fireredtts2.serving.jobs import job as jobs
from fireredtts2.serving.jobs.job import FOLLOWING, Job, StateError
from fireredtts2.serving.jobs.store import JobStore, TooManyJobsError
from tests.serving.jobs.stores import KINDS, redis_server, store_of

pytest_plugins = ("tests.speaking",)

NAMES = itertools.count()


@pytest.fixture(scope="module", params=KINDS)
def kept(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("store")
    if request.param == "sqlite":
        yield request.param, folder, None
        return
    with redis_server() as url:
        yield request.param, folder, url


@pytest.fixture
def store(kept: tuple[str, Path, str | None]) -> Iterator[JobStore]:
    with store_of(*kept, name=f"n{next(NAMES)}") as made:
        yield made


def job(owner: str = "anna", **values) -> Job:
    return Job(jobs.new_id(), owner, {"title": "A"}, 3, time.time(), **values)


def test_what_is_added_is_there(store: JobStore):
    first, second = job(), job("ben")
    store.add(first, 9)
    store.add(second, 9)
    assert store.get(first.id) == first
    assert store.get("job_none") is None
    assert [one.id for one in store.find()] == [first.id, second.id]
    assert [one.id for one in store.find(owner="ben")] == [second.id]
    assert store.find(states=("done",)) == []
    assert store.delete(first.id)
    assert not store.delete(first.id)
    assert store.get(first.id) is None
    assert store.events(first.id) == []
    assert store.find(owner="anna") == []


def test_jobs_of_an_owner_are_bounded(store: JobStore):
    store.add(job(), 2)
    store.add(job(), 2)
    with pytest.raises(TooManyJobsError, match="2 jobs"):
        store.add(job(), 2)
    store.add(job("ben"), 2)
    assert len(store.find()) == 3


def test_what_is_told_is_numbered_without_gaps(store: JobStore):
    made = job()
    store.add(made, 9)
    store.change(made.id, jobs.claimed("w", 100.0, 10.0))
    store.change(made.id, jobs.held("w", 105.0, 10.0))  # nobody sees a heart-beat
    store.change(made.id, jobs.held("w", 105.0, 10.0, turns_done=1))
    told = store.events(made.id)
    assert [event.id for event in told] == [1, 2, 3]
    assert [event.data["turns_done"] for event in told] == [0, 0, 1]
    assert store.events(made.id, after=2) == told[2:]
    assert store.events(made.id, after=3) == []


def test_a_lease_that_ran_out_is_taken_once(store: JobStore):
    made = job()
    store.add(made, 9)
    assert store.change(made.id, jobs.claimed("a", 100.0, 10.0))
    assert store.change(made.id, jobs.claimed("b", 105.0, 10.0)) is None
    assert store.change(made.id, jobs.claimed("b", 111.0, 10.0))
    assert store.change(made.id, jobs.held("a", 112.0, 10.0, turns_done=2)) is None
    assert store.change(made.id, jobs.left("a", "done")) is None
    after = store.get(made.id)
    assert after is not None
    assert (after.worker, after.turns_done) == ("b", 0)


def test_of_many_who_claim_at_once_one_gets_it(kept: tuple[str, Path, str | None]):
    name = f"n{next(NAMES)}"
    with store_of(*kept, name=name) as store:
        made = [job() for _ in range(5)]
        for one in made:
            store.add(one, 9)
        won: list[str] = []
        barrier = threading.Barrier(6)

        def claim(worker: str) -> None:
            with store_of(*kept, name=name) as mine:
                barrier.wait(20)
                for one in made:
                    if mine.change(one.id, jobs.claimed(worker, 100.0, 10.0)):
                        won.append(one.id)

        threads = [threading.Thread(target=claim, args=(f"w{n}",)) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert sorted(won) == sorted(one.id for one in made)


def test_what_a_change_raises_changes_nothing(store: JobStore):
    made = job(state="done")
    store.add(made, 9)
    with pytest.raises(StateError, match="the job is done: queued cannot follow"):
        store.change(made.id, jobs.moved("queued"))
    assert store.get(made.id) == made
    assert store.change(made.id, lambda _: None) is None


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("claim"), st.sampled_from("ab")),
        st.tuples(st.just("turn"), st.sampled_from("ab")),
        st.tuples(st.sampled_from(["done", "failed", "paused", "queued"]), st.sampled_from("ab")),
        st.tuples(st.sampled_from(["cancel", "resume", "wait", "delete"]), st.just("")),
    ),
    max_size=25,
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(steps=STEPS)
def test_whatever_happens_the_states_follow_one_another(store: JobStore, steps: list):
    made, now = job(), 100.0
    store.add(made, 10_000)
    for step, worker in steps:
        now += 20.0 if step == "wait" else 1.0
        before = store.get(made.id)
        changes = {
            "claim": jobs.claimed(worker, now, 10.0),
            "turn": jobs.held(
                worker, now, 10.0, turns_done=(before.turns_done + 1) if before else 0
            ),
            "cancel": jobs.moved("cancelled"),
            "resume": jobs.moved("queued"),
            "wait": lambda _: None,
        }
        if step == "delete":
            assert store.delete(made.id) is (before is not None)
        else:
            try:
                store.change(made.id, changes.get(step) or jobs.left(worker, step))
            except StateError:
                assert store.get(made.id) == before
        after = store.get(made.id)
        if before is None or after is None:
            assert after is None
            continue
        _check(before, after, now)
    events = store.events(made.id)
    assert [event.id for event in events] == list(range(1, len(events) + 1))
    final = store.get(made.id)
    if final is not None:
        assert events[-1].data == final.public()
        assert final.version == len(events)


def _check(before: Job, after: Job, now: float) -> None:
    if after.state != before.state:
        assert after.state in FOLLOWING[before.state]
    assert (after.worker is not None) is (after.state == "running")
    assert after.turns_done in (before.turns_done, before.turns_done + 1)
    if before.worker and after.worker and before.worker != after.worker:
        assert before.lease_until < now
    assert Job.from_json(after.to_json()) == after
    assert dataclasses.replace(after, worker=None).public() == after.public()
