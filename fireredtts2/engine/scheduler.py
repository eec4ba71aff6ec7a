"""Which request sits in which slot, and how much of what a slot has read can be used again."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar


class Keyed(Protocol):
    """Rows that are read together; equal keys mean equal rows."""

    @property
    def key(self) -> bytes: ...

    def __len__(self) -> int: ...


class Job(Protocol):
    """What the scheduler needs to know of a request."""

    @property
    def blocks(self) -> Sequence[Keyed]: ...


JobT = TypeVar("JobT", bound=Job)


@dataclass
class Slot(Generic[JobT]):
    """One row of the model's state.

    Attributes:
        index: the row.
        job: who sits in it.
        keys: of the whole blocks that the row's cache surely holds, in order.
        last_used: when a job last left it, for choosing which memory to give up.
    """

    index: int
    job: JobT | None = None
    keys: list[bytes] = field(default_factory=list)
    last_used: int = 0

    def num_shared(self, job: JobT) -> int:
        """How many of the job's first blocks this slot holds. The last block is always read."""
        shared = 0
        for held, block in zip(self.keys, job.blocks[:-1], strict=False):
            if held != block.key:
                break
            shared += 1
        return shared


@dataclass
class Admission(Generic[JobT]):
    """A job that gets a slot: its blocks from `first_block` on are to be read."""

    slot: Slot[JobT]
    job: JobT
    first_block: int


class Scheduler(Generic[JobT]):
    """Gives waiting jobs, in order of arrival, the free slot that remembers most of their rows."""

    def __init__(self, num_slots: int) -> None:
        if num_slots < 1:
            raise ValueError(f"num_slots must be at least 1, not {num_slots}")
        self.slots: list[Slot[JobT]] = [Slot(index) for index in range(num_slots)]
        self.waiting: deque[JobT] = deque()
        self._clock = 0

    @property
    def live(self) -> list[Slot[JobT]]:
        """Slots with a job."""
        return [slot for slot in self.slots if slot.job is not None]

    def add(self, job: JobT) -> None:
        self.waiting.append(job)

    def admit(self) -> Admission[JobT] | None:
        """Seats the next waiting job, if there is one and a free slot."""
        if not self.waiting or len(self.live) == len(self.slots):
            return None
        return self._seat(self.waiting.popleft())

    def _seat(self, job: JobT) -> Admission[JobT]:
        free = [slot for slot in self.slots if slot.job is None]
        slot = max(free, key=lambda slot: (slot.num_shared(job), -slot.last_used))
        first_block = slot.num_shared(job)
        slot.job = job
        # NOTE: only what is kept, until the rest has been read: reading may be interrupted.
        slot.keys = slot.keys[:first_block]
        return Admission(slot, job, first_block)

    def note_read(self, admission: Admission[JobT]) -> None:
        """The job's rows have been read. Its last block grows by frames until the release."""
        admission.slot.keys = [block.key for block in admission.job.blocks[:-1]]

    def release(self, slot: Slot[JobT], last_key: bytes | None) -> None:
        """Frees a slot; `last_key` names its last block with the frames made since, if kept."""
        self._clock += 1
        slot.job = None
        slot.last_used = self._clock
        if last_key is not None:
            slot.keys.append(last_key)

    def withdraw(self, job: JobT) -> bool:
        """Takes a job out of the queue; whether it was still there."""
        if job in self.waiting:
            self.waiting.remove(job)
            return True
        return False
