"""What operators watch, in Prometheus' form."""

from __future__ import annotations

import resource

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from fireredtts2.engine.front import AnyEngine

GAP_BUCKETS_S = (0.0, 0.01, 0.02, 0.04, 0.08, 0.15, 0.3, 0.6, 1.2, 2.5)
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
        self.gaps = Histogram(
            "fireredtts2_gap_seconds",
            "For how long nothing could be heard before a chunk came; 0 where it was in time.",
            buckets=GAP_BUCKETS_S,
            registry=self.registry,
        )
        self.refusals = Counter(
            "fireredtts2_refusals_total",
            "Requests refused at the door, by the error's code.",
            ["code"],
            registry=self.registry,
        )
        self.decode_failures = Counter(
            "fireredtts2_decode_failures_total",
            "Uploaded clips that could not be decoded.",
            registry=self.registry,
        )
        self._gauge("memory_bytes", "Memory of this process that is resident.", resident_bytes)
        scheduler = engine.scheduler
        self._gauge("slots", "Listeners that can be served at once.", lambda: len(scheduler.slots))
        self._gauge("slots_live", "Listeners served now.", lambda: len(scheduler.live))
        self._gauge("waiting", "Requests that wait for a slot.", lambda: scheduler.num_waiting)

    def _gauge(self, name: str, help: str, read: object) -> None:
        gauge = Gauge(f"fireredtts2_{name}", help, registry=self.registry)
        gauge.set_function(read)  # type: ignore[arg-type]


def resident_bytes() -> float:
    """Memory of this process: what is resident now, else the most that ever was."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return float(int(file.read().split()[1]) * resource.getpagesize())
    except OSError:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0
