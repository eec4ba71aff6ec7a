"""A job: what was asked for, how far it is, and which states may follow which."""

from __future__ import annotations

import dataclasses
import json
import re
import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

JobState = Literal["queued", "running", "paused", "cancelled", "failed", "done"]
JOB_ID = re.compile(r"job_[0-9a-f]{24}")
#: What may come after what. A done job stays done.
FOLLOWING: dict[JobState, tuple[JobState, ...]] = {
    "queued": ("running", "cancelled"),
    "running": ("queued", "paused", "cancelled", "failed", "done"),
    "paused": ("queued", "cancelled"),
    "cancelled": ("queued",),
    "failed": ("queued",),
    "done": (),
}
#: States in which a worker has something to do.
OPEN: tuple[JobState, ...] = ("queued", "running")
Change = Callable[["Job"], "Job | None"]


class StateError(ValueError):
    """A job's state does not allow what was asked."""


@dataclass(frozen=True)
class Job:
    """One job. Its turns are in its folder; what is here says how far they go.

    Attributes:
        id: its name, and its folder's.
        owner: whose it is.
        asked: what was asked for, as JSON.
        num_turns: of the script.
        created_at: seconds since 1970.
        state: see `FOLLOWING`.
        turns_done: turns on disk.
        audio_s: seconds of audio on disk, pauses included.
        total_s: estimate of the whole.
        left_s: estimate of the time still needed, while it runs.
        num_bytes: on disk; while it is assembled, with what the result takes at most.
        stage: what a running job does.
        files: names of its results, once there.
        error: why it paused or failed.
        worker: the claim of who works on it.
        lease_until: when another may take it.
        changed_at: the last change that a client can see.
        version: counts these changes.
    """

    id: str
    owner: str
    asked: dict[str, Any]
    num_turns: int
    created_at: float
    state: JobState = "queued"
    turns_done: int = 0
    audio_s: float = 0.0
    total_s: float = 0.0
    left_s: float | None = None
    num_bytes: int = 0
    stage: Literal["speaking", "assembling"] = "speaking"
    files: tuple[str, ...] = ()
    error: str | None = None
    worker: str | None = None
    lease_until: float = 0.0
    changed_at: float = 0.0
    version: int = 1

    @property
    def is_open(self) -> bool:
        """Whether a worker has something to do with it."""
        return self.state in OPEN

    def moved(self, state: JobState, **values: Any) -> Job:
        """The job in another state.

        Raises:
            StateError: that cannot follow.
        """
        if state not in FOLLOWING[self.state]:
            allowed = ", ".join(FOLLOWING[self.state]) or "nothing"
            raise StateError(f"the job is {self.state}: {state} cannot follow, only {allowed}")
        if state != "running":
            values = {"worker": None, "lease_until": 0.0, "left_s": None, **values}
        return dataclasses.replace(self, state=state, **values)

    def to_json(self) -> str:
        return json.dumps(dataclasses.asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> Job:
        values = json.loads(text)
        return cls(**{**values, "files": tuple(values["files"])})

    def public(self) -> dict[str, Any]:
        """What its owner is told."""
        fraction = self.turns_done / self.num_turns if self.num_turns else 0.0
        return {
            "id": self.id,
            "object": "job",
            "state": self.state,
            "stage": self.stage if self.state == "running" else None,
            "title": self.asked.get("title"),
            "created_at": self.created_at,
            "changed_at": self.changed_at,
            "turns_done": self.turns_done,
            "num_turns": self.num_turns,
            "progress": 1.0 if self.state == "done" else min(0.99, fraction),
            "audio_s": round(self.audio_s, 3),
            "estimated_total_s": round(self.total_s, 1),
            "estimated_left_s": None if self.left_s is None else round(self.left_s, 1),
            "bytes": self.num_bytes,
            "files": list(self.files),
            "error": self.error,
        }


@dataclass(frozen=True)
class JobEvent:
    """What a client was told when; `id` counts from 1, without gaps, in a job."""

    id: int
    data: dict[str, Any] = field(default_factory=dict)


def new_id() -> str:
    return f"job_{secrets.token_hex(12)}"


def changed(job: Job, change: Change, now: float) -> tuple[Job | None, bool]:
    """The job after a change, and whether its owner can see the difference.

    None where the change does not want to be made.
    """
    after = change(job)
    if after is None or after == job:
        return None, False
    if after.public() == job.public():
        return after, False
    return dataclasses.replace(after, changed_at=now, version=job.version + 1), True


# --- Changes --------------------------------------------------------------------------------------


def claimed(worker: str, now: float, lease_s: float) -> Change:
    """A worker takes a job that waits, or whose worker has been silent."""

    def change(job: Job) -> Job | None:
        values: dict[str, Any] = {"worker": worker, "lease_until": now + lease_s, "error": None}
        if job.state == "queued":
            return job.moved("running", **values)
        if job.state == "running" and job.lease_until < now:
            return dataclasses.replace(job, **values)
        return None

    return change


def held(worker: str, now: float, lease_s: float, **values: Any) -> Change:
    """The worker goes on, and reports; nothing where the job is no longer its."""

    def change(job: Job) -> Job | None:
        if job.state != "running" or job.worker != worker:
            return None
        return dataclasses.replace(job, lease_until=now + lease_s, **values)

    return change


def left(worker: str, state: JobState, **values: Any) -> Change:
    """The worker lets go of the job; nothing where it is no longer its."""

    def change(job: Job) -> Job | None:
        if job.state != "running" or job.worker != worker:
            return None
        return job.moved(state, **values)

    return change


def moved(state: JobState, **values: Any) -> Change:
    """Its owner wants it so."""
    return lambda job: job.moved(state, **values)
