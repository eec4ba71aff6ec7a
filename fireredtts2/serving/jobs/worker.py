"""Speaks jobs, a turn at a time, beside live requests and behind them."""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import logging
import secrets
import threading
import time
from collections.abc import Iterator
from contextlib import closing

from fireredtts2.engine.scheduler import QueueFullError
from fireredtts2.fireredtts2 import FireRedTTS2
from fireredtts2.narration.errors import SpeechError
from fireredtts2.serving.assembly import ChapterMark, Wanted, assemble
from fireredtts2.serving.jobs import job as jobs
from fireredtts2.serving.jobs.config import JobsConfig
from fireredtts2.serving.jobs.folder import JobFolder
from fireredtts2.serving.jobs.job import Job, JobState
from fireredtts2.serving.jobs.plan import Plan, plan_of
from fireredtts2.serving.jobs.schemas import JobRequest
from fireredtts2.serving.jobs.store import JobStore
from fireredtts2.speech import AudioChunk, Progress, Turn

logger = logging.getLogger(__name__)

#: Below live requests: one of these waits 50 s of speech at most before it goes first.
PRIORITY = -10
POLL_S = 1.0
CLEANING_S = 60.0
ORPHAN_S = 3600.0
CLOSING_S = 20.0


class NotOursError(Exception):
    """The job was cancelled, deleted or taken by another; or this server stops."""


class PauseJobError(Exception):
    """The job cannot go on for now; the message says why."""


class JobWorker:
    """Threads that take jobs from a store.

    Args:
        tts: the model.
        store: where jobs are written down.
        config: how many at once, and where.
    """

    def __init__(self, tts: FireRedTTS2, store: JobStore, config: JobsConfig) -> None:
        assert config.path is not None
        self.name = f"worker_{secrets.token_hex(8)}"
        self._tts, self._store, self._config, self._root = tts, store, config, config.path
        self._stops = threading.Event()
        self._wakes = threading.Event()
        self._held: set[str] = set()  # ids of jobs under way
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
        """There may be something to do."""
        self._wakes.set()

    def close(self) -> None:
        """Lets go of what is under way; its finished turns stay."""
        self._stops.set()
        self._wakes.set()
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
            change = jobs.claimed(self.name, time.time(), self._config.lease_s)
            if (mine := self._store.change(job.id, change)) is not None:
                return mine
        return None

    def _beat(self) -> None:
        """Renews leases, and now and then removes what nobody came for."""
        cleans_at = 0.0
        while not self._stops.wait(min(self._config.lease_s / 3, CLEANING_S)):
            try:
                for id in list(self._held):
                    change = jobs.held(self.name, time.time(), self._config.lease_s)
                    self._store.change(id, change)
                if time.monotonic() >= cleans_at:
                    cleans_at = time.monotonic() + CLEANING_S
                    self.remove_old()
            except Exception as error:
                logger.error("leases of jobs were not renewed", exc_info=error)

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

    # --- One job ----------------------------------------------------------------------------------

    def _work(self, job: Job) -> None:
        self._held.add(job.id)
        try:
            self._make(job)
        except NotOursError:
            self._leave(job, "queued")  # where it is still ours: this server stops
        except QueueFullError:
            self._leave(job, "queued")
            self._stops.wait(POLL_S)
        except PauseJobError as error:
            self._leave(job, "paused", str(error))
        except (ValueError, SpeechError) as error:
            self._leave(job, "failed", str(error))
        except OSError as error:
            is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            logger.warning("job %s: %s", job.id, error)
            reason = "the server's disk is full; resume the job when there is room again"
            self._leave(job, "paused" if is_full else "failed",
                        reason if is_full else "a file could not be written or read")  # fmt: skip
        except Exception as error:
            logger.error("job %s failed", job.id, exc_info=error)
            self._leave(job, "failed", "the server met an error of its own")
        finally:
            self._held.discard(job.id)

    def _leave(self, job: Job, state: JobState, error: str | None = None) -> None:
        values = {"num_bytes": JobFolder(self._root / job.id).num_bytes}
        self._store.change(job.id, jobs.left(self.name, state, error=error, **values))

    def _make(self, job: Job) -> None:
        folder = JobFolder(self._root / job.id)
        folder.clean()
        asked = JobRequest(**job.asked)
        plan = plan_of(asked)
        self._speak(job, asked, plan, folder)
        self._report(job, stage="assembling")
        wanted = Wanted(
            formats=asked.formats,
            subtitles=asked.subtitles,
            stems=asked.stems,
            title=asked.title,
            chapters=chapter_marks(plan, folder),
            names=plan.name_of,
        )
        files = assemble(self._watched(job, folder), folder.results, wanted)
        values = {"files": tuple(files), "num_bytes": folder.num_bytes}
        self._store.change(job.id, jobs.left(self.name, "done", **values))

    def _speak(self, job: Job, asked: JobRequest, plan: Plan, folder: JobFolder) -> None:
        """Every turn that is not on disk yet."""
        speech = Speaking(earlier=[_without_audio(turn) for turn in folder.turns()])
        self._told(job, speech, folder.num_bytes)
        if len(speech.earlier) == job.num_turns:
            return
        options = {"temperature": asked.temperature, "topk": asked.topk}
        chunks = self._tts.stream_dialogue(
            plan.script.turns,
            folder.voices(),
            on_progress=speech.note,
            hold_turns=True,
            after=speech.earlier,
            priority=PRIORITY,
            seed=asked.seed,
            on_runaway="cut",
            **{name: value for name, value in options.items() if value is not None},  # type: ignore[arg-type]
        )
        num_bytes = folder.num_bytes
        with closing(chunks):  # type: ignore[type-var]
            for chunk in chunks:
                self._check_ours(job)
                if chunk.turn is not None:
                    self._check_room(job, num_bytes)
                    num_bytes += folder.write(chunk.turn_index, chunk.turn)
                    speech.done(chunk.turn)
                    self._told(job, speech, num_bytes)

    def _watched(self, job: Job, folder: JobFolder) -> Iterator[AudioChunk]:
        """The audio on disk, as long as the job is ours and all of it is there."""
        num_turns = 0
        for chunk in folder.chunks():
            if chunk.turn is not None:
                self._check_ours(job)
                num_turns += 1
            yield chunk
        if num_turns != job.num_turns:
            raise PauseJobError(f"turn {num_turns + 1} on disk is damaged; resume to make it again")

    def _told(self, job: Job, speech: Speaking, num_bytes: int) -> None:
        self._report(
            job,
            turns_done=speech.num_done,
            audio_s=speech.audio_s,
            total_s=speech.total_s,
            left_s=speech.left_s,
            num_bytes=num_bytes,
        )

    def _report(self, job: Job, **values: object) -> None:
        change = jobs.held(self.name, time.time(), self._config.lease_s, **values)
        if self._stops.is_set() or self._store.change(job.id, change) is None:
            raise NotOursError

    def _check_ours(self, job: Job) -> None:
        now = self._store.get(job.id)
        is_ours = now is not None and now.state == "running" and now.worker == self.name
        if self._stops.is_set() or not is_ours:
            raise NotOursError

    def _check_room(self, job: Job, num_bytes: int) -> None:
        others = sum(other.num_bytes for other in self._store.find() if other.id != job.id)
        if others + num_bytes >= self._config.max_bytes:
            raise PauseJobError(f"jobs take {others + num_bytes} bytes on disk, of "
                                f"{self._config.max_bytes}; delete some, then resume")  # fmt: skip


@dataclasses.dataclass
class Speaking:
    """How far a job's speech is."""

    earlier: list[Turn]
    began_s: float = dataclasses.field(default_factory=time.monotonic)
    num_done: int = 0
    audio_s: float = 0.0
    total_s: float = 0.0

    def __post_init__(self) -> None:
        self.num_done = len(self.earlier)
        self.audio_s = self._earlier_s = self.earlier[-1].end_s if self.earlier else 0.0

    @property
    def left_s(self) -> float | None:
        made_s = self.audio_s - self._earlier_s
        if made_s <= 0:
            return None
        pace = (time.monotonic() - self.began_s) / made_s
        return max(0.0, self.total_s - self.audio_s) * pace

    def note(self, progress: Progress) -> None:
        self.total_s = progress.total_s

    def done(self, turn: Turn) -> None:
        self.num_done += 1
        self.audio_s = turn.end_s


def chapter_marks(plan: Plan, folder: JobFolder) -> list[ChapterMark]:
    """Where the chapters are; each ends where the next begins."""
    times = [(turn.start_s, turn.end_s) for turn in folder.turns()]
    starts = [round(times[chapter.first_turn][0] * 1000) for chapter in plan.chapters]
    if starts:
        starts[0] = 0
    ends = [*starts[1:], round(times[-1][1] * 1000)]
    return [
        ChapterMark(chapter.title, start, end)
        for chapter, start, end in zip(plan.chapters, starts, ends, strict=False)
    ]


def _without_audio(turn: Turn) -> Turn:
    return dataclasses.replace(turn, audio=turn.audio[:0].clone())
