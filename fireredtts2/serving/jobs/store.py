"""Where jobs are written down: one interface, two stores."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from fireredtts2.serving.jobs.job import Change, Job, JobEvent, JobState


class TooManyJobsError(ValueError):
    """The owner has as many jobs as it may."""


class JobStore(Protocol):
    """Jobs and what was told of them. Every call is atomic; any thread may call."""

    def add(self, job: Job, max_of_owner: int) -> None:
        """Writes a new job down.

        Raises:
            TooManyJobsError: its owner has that many.
        """

    def get(self, id: str) -> Job | None:
        """A job, if there is one."""

    def find(self, owner: str | None = None, states: Sequence[JobState] | None = None) -> list[Job]:
        """Jobs, the oldest first."""

    def change(self, id: str, change: Change) -> Job | None:
        """Reads a job, and writes down what the function makes of it, unless that is None.

        The function may be called several times. What it raises comes out, and nothing changes.

        Returns:
            The job as it is now; None where there is none, or it was not to change.
        """

    def delete(self, id: str) -> bool:
        """Forgets a job and its events; whether there was one."""

    def events(self, id: str, after: int = 0) -> list[JobEvent]:
        """What was told of a job since an event, in order."""

    def close(self) -> None:
        """Lets go of files and connections."""
