"""One job that a worker has claimed, from its first missing turn to its files."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator, Sequence
from contextlib import closing

from fireredtts2.fireredtts2 import FireRedTTS2
from fireredtts2.serving.assembly import ChapterMark, Wanted, assemble
from fireredtts2.serving.jobs import job as jobs
from fireredtts2.serving.jobs.config import JobsConfig
from fireredtts2.serving.jobs.folder import JobFolder
from fireredtts2.serving.jobs.job import Job, JobState
from fireredtts2.serving.jobs.plan import Plan, plan_of
from fireredtts2.serving.jobs.result_size import most_bytes, turn_bytes
from fireredtts2.serving.jobs.schemas import JobRequest
from fireredtts2.serving.jobs.stoppable import StoppedError, stoppable
from fireredtts2.serving.jobs.store import JobStore
from fireredtts2.serving.marking import NewMarker, unmarked
from fireredtts2.speech import AudioChunk, Progress, Turn

#: Below live requests: one of these waits 50 s of speech at most before it goes first.
PRIORITY = -10


class PauseJobError(Exception):
    """The job cannot go on for now; the message says why."""


class JobMaker:
    """Makes what is missing of a job, in the thread that calls `make`.

    Args:
        tts: the model.
        store: where the job is written down.
        config: how much room there is.
        job: as it was claimed; `job.worker` is the claim's own name.
        new_marker: of each file's watermark.
    """

    def __init__(
        self,
        tts: FireRedTTS2,
        store: JobStore,
        config: JobsConfig,
        job: Job,
        new_marker: NewMarker = unmarked,
    ) -> None:
        assert config.path is not None
        self._store, self._config, self._job = store, config, job
        self._claim, self._new_marker = job.worker or "", new_marker
        self._folder = JobFolder(config.path / job.id)
        self._tts, self._engine = stoppable(tts)

    # --- From other threads -----------------------------------------------------------------------

    def stop(self) -> None:
        """Lets `make` raise `StoppedError`; speech under way ends within a frame."""
        self._engine.stop()

    def look(self) -> None:
        """Stops where the job is no longer ours."""
        if not self._engine.is_stopped and not self._is_ours():
            self.stop()

    def renew(self) -> None:
        """Keeps others from taking the job."""
        self._store.change(self._job.id, self._held())

    # --- In the worker's thread -------------------------------------------------------------------

    def make(self) -> None:
        """Speaks and assembles; the job is done when this returns.

        Raises:
            StoppedError: it is no longer ours.
            PauseJobError: it needs room, or a turn to be made again.
            QueueFullError: the engine takes no more for now.
            SpeechError, ValueError, OSError: it cannot be made.
        """
        self._folder.clean()
        asked = JobRequest(**self._job.asked)
        plan = plan_of(asked)
        wanted = self._wanted(asked, plan, self._speak(asked, plan))
        files = assemble(self._watched(), self._folder.results, wanted)
        self.leave("done", files=tuple(files))

    def leave(self, state: JobState, error: str | None = None, **values: object) -> None:
        """Lets go of the job; nothing where it is no longer ours."""
        values = {"error": error, "num_bytes": self._folder.num_bytes, **values}
        self._store.change(self._job.id, jobs.left(self._claim, state, **values))

    def _speak(self, asked: JobRequest, plan: Plan) -> list[Turn]:
        """Every turn that is not on disk yet; all turns, without their audio."""
        speech = Speaking(self._earlier())
        num_bytes = self._folder.num_bytes
        self._tell(speech, num_bytes)
        if len(speech.turns) == self._job.num_turns:
            return speech.turns
        chunks = self._tts.stream_dialogue(
            plan.script.turns,
            self._folder.voices(),
            on_progress=speech.note,
            hold_turns=True,
            after=speech.turns,
            priority=PRIORITY,
            on_runaway="cut",
            **asked.given(),
        )
        with closing(chunks):  # type: ignore[type-var]
            for chunk in chunks:
                if chunk.turn is not None:
                    self._check_ours()
                    self._check_room("the next turn", num_bytes, turn_bytes(chunk.turn))
                    num_bytes += self._folder.write(chunk.turn_index, chunk.turn)
                    speech.turns.append(_without_audio(chunk.turn))
                    self._tell(speech, num_bytes)
        return speech.turns

    def _earlier(self) -> list[Turn]:
        """The turns on disk, without their audio."""
        turns = []
        for turn in self._folder.turns():
            self._engine.check()
            turns.append(_without_audio(turn))
        return turns

    def _wanted(self, asked: JobRequest, plan: Plan, turns: Sequence[Turn]) -> Wanted:
        """What is to be made, for which there is room: others see it as taken already."""
        wanted = Wanted(
            formats=asked.formats,
            subtitles=asked.subtitles,
            stems=asked.stems,
            title=asked.title,
            chapters=chapter_marks(plan, turns),
            names=plan.name_of,
            new_marker=self._new_marker,
        )
        self._folder.remove_results()  # of an assembly that was broken off
        num_bytes, more = self._folder.num_bytes, most_bytes(wanted, turns)
        self._check_room("the result", num_bytes, more)
        self._report(stage="assembling", num_bytes=num_bytes + more)
        return wanted

    def _watched(self) -> Iterator[AudioChunk]:
        """The audio on disk, as long as the job is ours and all of it is there."""
        num_turns = 0
        for chunk in self._folder.chunks():
            if chunk.turn is not None:
                self._check_ours()
                num_turns += 1
            yield chunk
        if num_turns != self._job.num_turns:
            raise PauseJobError(f"turn {num_turns + 1} on disk is damaged; resume to make it again")

    def _check_room(self, what: str, num_bytes: int, more: int) -> None:
        found = self._store.find()
        taken = num_bytes + sum(other.num_bytes for other in found if other.id != self._job.id)
        if taken + more > self._config.max_bytes:
            raise PauseJobError(f"{what} may take {more} bytes: jobs take {taken} already, of "
                                f"{self._config.max_bytes}; delete some, then resume")  # fmt: skip

    # --- What is told -----------------------------------------------------------------------------

    def _tell(self, speech: Speaking, num_bytes: int) -> None:
        self._report(
            turns_done=len(speech.turns),
            audio_s=speech.audio_s,
            total_s=speech.total_s,
            left_s=speech.left_s,
            num_bytes=num_bytes,
        )

    def _report(self, **values: object) -> None:
        self._engine.check()
        if self._store.change(self._job.id, self._held(**values)) is None:
            self._check_ours()  # where it is, nothing was new

    def _held(self, **values: object) -> jobs.Change:
        return jobs.held(self._claim, time.time(), self._config.lease_s, **values)

    def _check_ours(self) -> None:
        self._engine.check()
        if not self._is_ours():
            raise StoppedError

    def _is_ours(self) -> bool:
        now = self._store.get(self._job.id)
        return now is not None and now.state == "running" and now.worker == self._claim


@dataclasses.dataclass
class Speaking:
    """How far a job's speech is; `turns` has all that are on disk."""

    turns: list[Turn]
    began_s: float = dataclasses.field(default_factory=time.monotonic)
    total_s: float = 0.0

    def __post_init__(self) -> None:
        self._earlier_s = self.audio_s

    @property
    def audio_s(self) -> float:
        return self.turns[-1].end_s if self.turns else 0.0

    @property
    def left_s(self) -> float | None:
        made_s = self.audio_s - self._earlier_s
        if made_s <= 0:
            return None
        pace = (time.monotonic() - self.began_s) / made_s
        return max(0.0, self.total_s - self.audio_s) * pace

    def note(self, progress: Progress) -> None:
        self.total_s = progress.total_s


def chapter_marks(plan: Plan, turns: Sequence[Turn]) -> list[ChapterMark]:
    """Where the chapters are; each ends where the next begins."""
    starts = [round(turns[chapter.first_turn].start_s * 1000) for chapter in plan.chapters]
    if starts:
        starts[0] = 0
    ends = [*starts[1:], round(turns[-1].end_s * 1000)]
    return [
        ChapterMark(chapter.title, start, end)
        for chapter, start, end in zip(plan.chapters, starts, ends, strict=False)
    ]


def _without_audio(turn: Turn) -> Turn:
    return dataclasses.replace(turn, audio=turn.audio[:0].clone())
