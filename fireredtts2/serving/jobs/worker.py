"""Threads that make jobs, a turn at a time, beside live requests and behind them."""

from __future__ import annotations

import contextlib
import errno
import logging
import secrets
import threading
import time

from fireredtts2.engine.scheduler import QueueFullError
from fireredtts2.fireredtts2 import FireRedTTS2
from fireredtts2.narration.errors import SpeechError
from fireredtts2.serving.jobs import job as jobs
from fireredtts2.serving.jobs.config import JobsConfig
from fireredtts2.serving.jobs.folder import JobFolder
from fireredtts2.serving.jobs.job import Job
from fireredtts2.serving.jobs.maker import JobMaker, PauseJobError
from fireredtts2.serving.jobs.stoppable import StoppedError
from fireredtts2.serving.jobs.store import JobStore
from fireredtts2.serving.marking import NewMarker, unmarked

logger = logging.getLogger(__name__)

POLL_S = 1.0
#: How often it is looked whether another server cancelled or took a job; of our own we are told.
LOOK_S = 0.25
CLEANING_S = 60.0
ORPHAN_S = 3600.0
CLOSING_S = 20.0


class JobWorker:
    """Threads that take jobs from a store.

    Args:
        tts: the model.
        store: where jobs are written down.
        config: how many at once, and where.
        new_marker: of each file's watermark.
    """

    def __init__(
        self,
        tts: FireRedTTS2,
        store: JobStore,
        config: JobsConfig,
        new_marker: NewMarker = unmarked,
    ) -> None:
        assert config.path is not None
        self._new_marker = new_marker
        self._tts, self._store, self._config, self._root = tts, store, config, config.path
        self._stops = threading.Event()
        self._wakes, self._looks = threading.Event(), threading.Event()
        self._makers: dict[str, JobMaker] = {}  # of jobs under way, by the claim's name
        names = ["heart", *(f"job{n}" for n in range(config.max_running))]
        targets = [self._beat, *[self._loop] * config.max_running]
        self._threads = [
            threading.Thread(target=target, name=name, daemon=True)
            for name, target in zip(names, targets, strict=True)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """A job has changed: there may be something to do, or to stop."""
        self._wakes.set()
        self._looks.set()

    def close(self) -> None:
        """Lets go of what is under way; its finished turns stay."""
        self._stops.set()  # NOTE: before what is under way is looked at; `_work` looks after it
        self.wake()
        for maker in list(self._makers.values()):
            maker.stop()
        ends_at = time.monotonic() + CLOSING_S
        for thread in self._threads:
            if thread.is_alive():
                thread.join(max(0.1, ends_at - time.monotonic()))

    # --- Taking jobs ------------------------------------------------------------------------------

    def _loop(self) -> None:
        while not self._stops.is_set():
            try:
                job = self._claim()
                if job is not None:
                    self._work(job)
                    continue
            except Exception as error:  # the store does not answer: it may, later
                logger.error("jobs stand still for now", exc_info=error)
            self._wakes.wait(POLL_S)
            self._wakes.clear()

    def _claim(self) -> Job | None:
        for job in self._store.find(states=jobs.OPEN):
            if job.state == "running" and job.lease_until >= time.time():
                continue
            # NOTE: a name for every claim: who let a job go must not take a later one for its own.
            name = f"claim_{secrets.token_hex(8)}"
            change = jobs.claimed(name, time.time(), self._config.lease_s)
            if (mine := self._store.change(job.id, change)) is not None:
                return mine
        return None

    def _work(self, job: Job) -> None:
        maker = JobMaker(self._tts, self._store, self._config, job, self._new_marker)
        name = job.worker or ""
        self._makers[name] = maker
        try:
            if self._stops.is_set():
                maker.stop()
            maker.make()
        except StoppedError:
            maker.leave("queued")  # where it is still ours: this server stops
        except QueueFullError:
            maker.leave("queued")
            self._stops.wait(POLL_S)
        except PauseJobError as error:
            maker.leave("paused", str(error))
        except (ValueError, SpeechError) as error:
            maker.leave("failed", str(error))
        except OSError as error:
            is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            logger.warning("job %s: %s", job.id, error)
            reason = "the server's disk is full; resume the job when there is room again"
            maker.leave("paused" if is_full else "failed",
                        reason if is_full else "a file could not be written or read")  # fmt: skip
        except Exception as error:
            logger.error("job %s failed", job.id, exc_info=error)
            maker.leave("failed", "the server met an error of its own")
        finally:
            del self._makers[name]

    # --- Beside them ------------------------------------------------------------------------------

    def _beat(self) -> None:
        """Stops what is no longer ours, renews leases, and now and then removes what is old."""
        period_s = self._config.lease_s / 3
        renews_at = time.monotonic() + period_s
        cleans_at = time.monotonic() + min(period_s, CLEANING_S)
        while not self._stops.is_set():
            self._looks.wait(min(LOOK_S, period_s))
            self._looks.clear()
            try:
                for maker in list(self._makers.values()):
                    maker.look()
                if time.monotonic() >= renews_at:
                    renews_at = time.monotonic() + period_s
                    for maker in list(self._makers.values()):
                        maker.renew()
                if time.monotonic() >= cleans_at:
                    cleans_at = time.monotonic() + CLEANING_S
                    self.remove_old()
            except Exception as error:
                logger.error("jobs were not looked after", exc_info=error)
                self._stops.wait(POLL_S)

    def remove_old(self) -> None:
        """Removes jobs that nobody came for, and folders of no job."""
        known = {job.id: job for job in self._store.find()}
        for job in known.values():
            is_old = max(job.changed_at, job.created_at) < time.time() - self._config.ttl_s
            if is_old and not job.is_open and self._store.delete(job.id):
                JobFolder(self._root / job.id).remove()
        for path in self._root.glob("job_*"):
            with contextlib.suppress(OSError):
                if path.name not in known and path.stat().st_mtime < time.time() - ORPHAN_S:
                    JobFolder(path).remove()
