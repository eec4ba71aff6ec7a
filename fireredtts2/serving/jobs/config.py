"""How jobs are kept and how many there may be."""

from __future__ import annotations

import math
import os
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from fireredtts2.serving.variable import parsed

JOBS_ENV = "FIREREDTTS2_JOBS"
SHORT_NAMES = {
    "path": JOBS_ENV,
    "redis_url": f"{JOBS_ENV}_REDIS",
    "max_jobs_per_key": f"{JOBS_ENV}_MAX_PER_KEY",
    "is_optional": f"{JOBS_ENV}_OPTIONAL",
}


@dataclass(frozen=True)
class JobsConfig:
    """Jobs of one server.

    Attributes:
        path: where jobs and their audio are kept; None: there are no jobs.
        redis_url: the store that several servers share, with `path` on a file system that they
            share too; None: SQLite, in `path`.
        prefix: of every key in Redis.
        max_running: jobs spoken at once by this server; others wait.
        max_jobs_per_key: of one client, finished ones included.
        max_turns: of one job.
        max_characters: of one job.
        max_bytes: on disk, of all jobs; a job that meets it pauses.
        ttl_s: how long a job is kept when nothing more is done to it.
        is_optional: where another server keeps its jobs in `path`, go without.
        lease_s: how long a server that is silent keeps its jobs; then another takes them.
    """

    path: Path | None = None
    redis_url: str | None = field(default=None, repr=False)  # it may hold a password
    prefix: str = "fireredtts2:jobs"
    max_running: int = 1
    max_jobs_per_key: int = 100
    max_turns: int = 10_000
    max_characters: int = 1_000_000
    max_bytes: int = 50_000_000_000
    ttl_s: float = 7 * 24 * 3600.0
    lease_s: float = 30.0
    is_optional: bool = False

    def __post_init__(self) -> None:
        if self.redis_url is not None and self.path is None:
            raise ValueError("jobs in Redis need a folder for their audio too")
        for one in fields(self):
            value = getattr(self, one.name)
            is_number = isinstance(value, int | float) and not isinstance(value, bool)
            if is_number and not (math.isfinite(value) and value > 0):
                raise ValueError(f"jobs: {one.name} {value}: must be a number above 0")


def job_variables() -> dict[str, str]:
    """The variable of every field: FIREREDTTS2_JOBS_ and its name in capitals, or a shorter one."""
    return {
        one.name: SHORT_NAMES.get(one.name, f"{JOBS_ENV}_{one.name.upper()}")
        for one in fields(JobsConfig)
    }


def jobs_of(environ: Mapping[str, str] = os.environ, **given: Any) -> JobsConfig:
    """The jobs that the environment names; an empty variable is not set.

    Args:
        environ: of the process.
        given: fields that are set here, whatever the environment says.

    Raises:
        ValueError: a value is not allowed; names the variable.
    """
    kinds = typing.get_type_hints(JobsConfig)
    values = {
        name: parsed(variable, environ[variable], kinds[name])
        for name, variable in job_variables().items()
        if environ.get(variable, "").strip() and name not in given
    }
    return JobsConfig(**values, **given)


def user_jobs_path() -> Path:
    """The folder of jobs: FIREREDTTS2_JOBS, or below the user's data folder."""
    if named := os.environ.get(JOBS_ENV):
        return Path(named).expanduser()
    data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(data).expanduser() / "fireredtts2" / "jobs"
