"""Which replica gets a request: a conversation's own, or the less busy of two."""

from __future__ import annotations

import random
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import Any

from ray.serve.request_router import PendingRequest, RequestRouter, RunningReplica

#: Conversations whose replica is remembered; the longest unheard of is forgotten first.
MAX_REMEMBERED = 100_000


class StickyRouter(RequestRouter):
    """Requests of one session go to one replica for as long as it lives.

    The session is what the request's X-Session-Id header says. A session that was not heard of goes
    where its hash says, which is the same on every node; after that it is remembered, so that a
    replica that is added takes no conversation away from another. When a replica dies, its sessions
    go elsewhere, and are told there that their conversation is gone.

    Requests without a session go to the less busy of two replicas drawn at random.
    """

    def initialize_state(self, **_options: Any) -> None:
        self._homes: OrderedDict[str, str] = OrderedDict()

    async def choose_replicas(
        self,
        candidate_replicas: list[RunningReplica],
        pending_request: PendingRequest | None = None,
    ) -> list[list[RunningReplica]]:
        """One rank of replicas to ask; asked again, later and later, while all are full."""
        if not candidate_replicas:
            return []
        session = ""
        if pending_request is not None:
            pending_request.routing_context.should_backoff = True
            session = pending_request.metadata.session_id
        if session:
            return [[self._home(session, candidate_replicas)]]
        return [random.sample(candidate_replicas, min(2, len(candidate_replicas)))]

    def _home(self, session: str, replicas: Sequence[RunningReplica]) -> RunningReplica:
        by_id = {replica.replica_id.unique_id: replica for replica in replicas}
        name = self._homes.get(session, "")
        if name not in by_id:
            name = likeliest(session, by_id)
        self._homes[session] = name
        self._homes.move_to_end(session)
        if len(self._homes) > MAX_REMEMBERED:
            self._homes.popitem(last=False)
        return by_id[name]


def likeliest(session: str, names: Iterable[str]) -> str:
    """The name that a session draws among some; most sessions draw the same when one is added."""

    def weight(name: str) -> bytes:
        return blake2b(f"{name} {session}".encode(), digest_size=8).digest()

    return max(names, key=weight)
