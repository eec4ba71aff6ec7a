"""How much each client has asked for lately."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Literal

from fireredtts2.serving.errors import ApiError
from fireredtts2.serving.keys import Client

Kind = Literal["requests_per_minute", "characters_per_minute", "uploads_per_hour"]
PERIOD_S: dict[Kind, float] = {
    "requests_per_minute": 60.0,
    "characters_per_minute": 60.0,
    "uploads_per_hour": 3_600.0,
}
MAX_BUCKETS = 20_000
STREAM_RETRY_S = 5


@dataclass
class Bucket:
    """Tokens that come back with time."""

    capacity: float
    period_s: float
    level: float
    at: float

    def wait_s(self, amount: float, now: float) -> float:
        """Takes an amount and gives 0, or takes nothing and says how long it would not be there.

        What is more than the bucket holds is given by a full one, which then owes it: a long text
        is not refused for ever, and who sent it waits longer.
        """
        rate = self.capacity / self.period_s
        self.level = min(self.capacity, self.level + rate * max(0.0, now - self.at))
        self.at = now
        lacking = min(amount, self.capacity) - self.level
        if lacking > 1e-9:
            return lacking / rate
        self.level -= amount
        return 0.0


class RateLimiter:
    """Buckets of all clients, in memory; those not used for longest go first.

    Args:
        clock: seconds.
        max_buckets: kept at once.
    """

    def __init__(
        self, clock: Callable[[], float] = time.monotonic, max_buckets: int = MAX_BUCKETS
    ) -> None:
        self._clock, self._max_buckets = clock, max_buckets
        self._buckets: OrderedDict[tuple[str, Kind], Bucket] = OrderedDict()
        self._streams: Counter[str] = Counter()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._buckets)

    def take(self, client: Client, kind: Kind, amount: float = 1) -> None:
        """Notes what a client asks for.

        Raises:
            ApiError: 429, with when to ask again.
        """
        allowed = getattr(client.quota, kind)
        if allowed is None:
            return
        with self._lock:
            bucket = self._bucket(client, kind, allowed)
            wait_s = bucket.wait_s(amount, self._clock())
        if wait_s > 0:
            raise too_many(f"{allowed} {kind.replace('_', ' ')} are allowed", math.ceil(wait_s))

    @contextlib.contextmanager
    def stream(self, client: Client) -> Iterator[None]:
        """Counts a stream while it lasts.

        Raises:
            ApiError: 429, as many are open as may be.
        """
        allowed = client.quota.concurrent_streams
        with self._lock:
            if allowed is not None and self._streams[client.id] >= allowed:
                raise too_many(f"{allowed} streams at once are allowed", STREAM_RETRY_S)
            self._streams[client.id] += 1
        try:
            yield
        finally:
            with self._lock:
                self._streams[client.id] -= 1
                if not self._streams[client.id]:
                    del self._streams[client.id]

    def _bucket(self, client: Client, kind: Kind, allowed: int) -> Bucket:
        place = (client.id, kind)
        if place not in self._buckets:
            self._buckets[place] = Bucket(allowed, PERIOD_S[kind], allowed, self._clock())
            if len(self._buckets) > self._max_buckets:
                self._buckets.popitem(last=False)
        self._buckets.move_to_end(place)
        return self._buckets[place]


def too_many(what: str, retry_after_s: int) -> ApiError:
    """The answer to who asks too much."""
    message = f"too much was asked: {what}; ask again in {retry_after_s} s"
    return ApiError(
        429, message, "rate_limit_error", "rate_limit_exceeded", retry_after_s=retry_after_s
    )
