"""What operators watch, in Prometheus' form."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from fireredtts2.engine.front import AnyEngine

LATENCY_BUCKETS_S = (0.02, 0.04, 0.08, 0.15, 0.3, 0.6, 1.2, 2.5, 5.0, 10.0)


class Metrics:
    """Counters of one server.

    Args:
        engine: whose slots and queue are shown.
    """

    def __init__(self, engine: AnyEngine) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "fireredtts2_requests_total",
            "Requests for speech by how they ended.",
            ["route", "outcome"],
            registry=self.registry,
        )
        self.first_audio = Histogram(
            "fireredtts2_first_audio_seconds",
            "From a request to its first audio.",
            buckets=LATENCY_BUCKETS_S,
            registry=self.registry,
        )
        self.audio = Counter(
            "fireredtts2_audio_seconds_total", "Speech that was made.", registry=self.registry
        )
        scheduler = engine.scheduler
        self._gauge("slots", "Listeners that can be served at once.", lambda: len(scheduler.slots))
        self._gauge("slots_live", "Listeners served now.", lambda: len(scheduler.live))
        self._gauge("waiting", "Requests that wait for a slot.", lambda: scheduler.num_waiting)

    def _gauge(self, name: str, help: str, read: object) -> None:
        gauge = Gauge(f"fireredtts2_{name}", help, registry=self.registry)
        gauge.set_function(read)  # type: ignore[arg-type]
