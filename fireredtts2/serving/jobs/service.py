"""Jobs as the routes see them: a store, a folder and a worker."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Mapping
from pathlib import Path

from filelock import FileLock

from fireredtts2.fireredtts2 import FireRedTTS2
from fireredtts2.folder_lock import hold_folder
from fireredtts2.serving.errors import ApiError
from fireredtts2.serving.jobs import job as jobs
from fireredtts2.serving.jobs.config import JobsConfig
from fireredtts2.serving.jobs.folder import JobFolder
from fireredtts2.serving.jobs.job import JOB_ID, Change, Job, StateError
from fireredtts2.serving.jobs.plan import Plan
from fireredtts2.serving.jobs.schemas import JobRequest
from fireredtts2.serving.jobs.sqlite_store import SqliteStore
from fireredtts2.serving.jobs.store import JobStore, TooManyJobsError
from fireredtts2.serving.jobs.worker import JobWorker
from fireredtts2.serving.marking import NewMarker, unmarked
from fireredtts2.voices import Voice

logger = logging.getLogger(__name__)

FILE_NAME = "jobs.sqlite"


class Jobs:
    """Jobs of one server; `start` begins to work on them.

    Args:
        tts: the model.
        config: where they are, and how many.
        new_marker: of each file's watermark.

    Raises:
        ValueError: another server works in the folder, or Redis does not answer.
    """

    def __init__(
        self, tts: FireRedTTS2, config: JobsConfig, new_marker: NewMarker = unmarked
    ) -> None:
        assert config.path is not None
        self.config, self._root = config, config.path
        self._root.mkdir(parents=True, exist_ok=True)
        self._lock = None if config.redis_url else held_folder(self._root)
        try:
            self.store = open_store(config)
        except BaseException:
            if self._lock is not None:
                self._lock.release()
            raise
        self._worker = JobWorker(tts, self.store, config, new_marker)

    def start(self) -> None:
        """Goes on with what a server before left behind."""
        if self._lock is not None:  # nobody else can be at work on them
            for job in self.store.find(states=("running",)):
                self.store.change(job.id, lambda job: dataclasses.replace(job, lease_until=0.0))
        self._worker.start()

    def close(self) -> None:
        self._worker.close()
        self.store.close()
        if self._lock is not None:
            self._lock.release()

    def add(self, owner: str, asked: JobRequest, plan: Plan, voices: Mapping[str, Voice]) -> Job:
        """A new job.

        Raises:
            ApiError: too long, or one too many.
            OSError: the disk is full.
        """
        self._check_size(plan)
        job = Job(jobs.new_id(), owner, asked.model_dump(), len(plan.script), time.time())
        job = dataclasses.replace(job, changed_at=job.created_at)
        folder = JobFolder(self._root / job.id)
        try:
            folder.create(voices)
            self.store.add(job, self.config.max_jobs_per_key)
        except TooManyJobsError as error:
            folder.remove()
            raise ApiError(429, f"{error}; delete some", "rate_limit_error",
                           "too_many_jobs") from None  # fmt: skip
        except BaseException:
            folder.remove()
            raise
        self._worker.wake()
        return job

    def get(self, owner: str, id: str) -> Job:
        """A job of an owner's.

        Raises:
            ApiError: there is none; somebody else's is as none.
        """
        job = self.store.get(id) if JOB_ID.fullmatch(id) else None
        if job is None or job.owner != owner:
            raise ApiError(404, f"no job {id[:80]!r}", code="job_not_found")
        return job

    def find(self, owner: str) -> list[Job]:
        return self.store.find(owner=owner)

    def cancel(self, owner: str, id: str) -> Job:
        """Stops a job, also in mid-turn; its finished turns stay, so that it can be resumed."""
        return self._moved(owner, id, jobs.moved("cancelled"))

    def resume(self, owner: str, id: str) -> Job:
        """Lets a job go on that paused, failed or was cancelled."""
        return self._moved(owner, id, jobs.moved("queued", error=None))

    def delete(self, owner: str, id: str) -> None:
        """Removes a job and all that is on disk of it."""
        job = self.get(owner, id)
        self.store.delete(job.id)
        self._worker.wake()
        JobFolder(self._root / job.id).remove()

    def file(self, owner: str, id: str, name: str) -> Path:
        """A result.

        Raises:
            ApiError: there is no such result.
        """
        job = self.get(owner, id)
        # NOTE: only names that the job itself wrote down: no path gets further than this.
        path = JobFolder(self._root / job.id).results / name if name in job.files else None
        if path is None or not path.is_file():
            known = ", ".join(job.files) or f"none yet, the job is {job.state}"
            raise ApiError(404, f"no file {name[:80]!r}; files: {known}", code="file_not_found")
        return path

    def _moved(self, owner: str, id: str, change: Change) -> Job:
        job = self.get(owner, id)
        try:
            after = self.store.change(job.id, change)
        except StateError as error:
            raise ApiError(409, str(error), code="wrong_state") from None
        if after is None:
            raise ApiError(404, f"no job {id!r}", code="job_not_found")
        self._worker.wake()
        return after

    def _check_size(self, plan: Plan) -> None:
        for what, given, allowed in (
            ("turns", len(plan.script), self.config.max_turns),
            ("characters", plan.num_characters, self.config.max_characters),
        ):
            if given > allowed:
                raise ApiError(400, f"{given} {what}; a job may have {allowed}",
                               code="input_too_long")  # fmt: skip


def opened_jobs(
    tts: FireRedTTS2, config: JobsConfig, new_marker: NewMarker = unmarked
) -> Jobs | None:
    """A server's jobs, with `new_marker` for each file's watermark; None where it keeps none.

    Raises:
        ValueError: as `Jobs`, unless they are optional.
    """
    if config.path is None:
        return None
    try:
        return Jobs(tts, config, new_marker)
    except (ValueError, OSError) as error:
        if not config.is_optional:
            raise
        logger.warning("this server keeps no jobs: %s", error)
        return None


def open_store(config: JobsConfig) -> JobStore:
    """The store that a configuration names.

    Raises:
        ValueError: it cannot be opened.
    """
    assert config.path is not None
    if config.redis_url is None:
        return SqliteStore(config.path / FILE_NAME)
    try:
        import redis

        from fireredtts2.serving.jobs.redis_store import RedisStore
    except ModuleNotFoundError:
        raise ValueError("redis is missing: pip install 'fireredtts2[redis]'") from None
    try:
        return RedisStore(config.redis_url, config.prefix)
    except redis.RedisError as error:
        raise ValueError(f"jobs: Redis does not answer ({type(error).__name__})") from None


def held_folder(path: Path) -> FileLock:
    """Holds a folder for this process; the system lets go of it however the process ends.

    Raises:
        ValueError: another holds it.
    """
    refusal = (
        "another server keeps its jobs there; choose another folder with --jobs, or share them "
        "through Redis"
    )
    return hold_folder(path, refusal)
