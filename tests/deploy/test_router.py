"""Where requests go in a fleet, without a cluster."""

import asyncio
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

pytest.importorskip("ray", reason="needs the ray extra: pip install 'fireredtts2[ray]'")

from fireredtts2.serving.ray import router as router_module
from fireredtts2.serving.ray.router import StickyRouter, likeliest

SESSIONS = [f"conversation-{number}" for number in range(300)]


def fleet(*names: str) -> list[Any]:
    return [SimpleNamespace(replica_id=SimpleNamespace(unique_id=name)) for name in names]


@pytest.fixture
def router() -> StickyRouter:
    made = StickyRouter.__new__(StickyRouter)  # Ray makes it with a cluster around it
    made.initialize_state()
    return made


def chosen(router: StickyRouter, session: str, replicas: list[Any]) -> list[str]:
    request = SimpleNamespace(
        metadata=SimpleNamespace(session_id=session), routing_context=SimpleNamespace()
    )
    ranks = asyncio.run(router.choose_replicas(replicas, request))  # type: ignore[arg-type]
    assert request.routing_context.should_backoff, "it would ask without a pause"
    return [replica.replica_id.unique_id for rank in ranks for replica in rank]


def homes(router: StickyRouter, replicas: list[Any]) -> dict[str, str]:
    return {session: chosen(router, session, replicas)[0] for session in SESSIONS}


def test_sessions_are_spread_and_stay(router: StickyRouter):
    before = homes(router, fleet("a", "b", "c"))
    assert all(count > 60 for count in Counter(before.values()).values())
    assert homes(router, fleet("c", "a", "b")) == before


def test_a_replica_that_is_added_takes_none_away(router: StickyRouter):
    before = homes(router, fleet("a", "b"))
    assert homes(router, fleet("a", "b", "c")) == before
    assert "c" in {chosen(router, f"new-{number}", fleet("a", "b", "c"))[0] for number in range(30)}


def test_only_the_sessions_of_the_dead_move_and_do_not_come_back(router: StickyRouter):
    before = homes(router, fleet("a", "b", "c"))
    after = homes(router, fleet("a", "c"))
    moved = {session for session in SESSIONS if after[session] != before[session]}
    assert moved == {session for session in SESSIONS if before[session] == "b"}
    assert homes(router, fleet("a", "c", "d")) == after


def test_two_routers_agree_on_what_neither_has_heard_of():
    replicas = ["a", "b", "c"]
    assert [likeliest(session, replicas) for session in SESSIONS] == [
        likeliest(session, reversed(replicas)) for session in SESSIONS
    ]


def test_without_a_session_two_are_asked(router: StickyRouter):
    assert set(chosen(router, "", fleet("a", "b"))) == {"a", "b"}
    assert chosen(router, "", fleet("a")) == ["a"]
    seen = {name for _ in range(50) for name in chosen(router, "", fleet("a", "b", "c"))}
    assert seen == {"a", "b", "c"}
    assert asyncio.run(router.choose_replicas([], None)) == []


def test_what_is_remembered_is_bounded(router: StickyRouter, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(router_module, "MAX_REMEMBERED", 10)
    homes(router, fleet("a", "b"))
    assert list(router._homes) == SESSIONS[-10:]
