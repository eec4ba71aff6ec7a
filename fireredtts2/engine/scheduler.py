"""Who sits in which slot, what is read next, and who speaks. Knows keys and counts, not tensors."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

#: Rows read in one pass. Pieces are cut from each block's beginning, whatever the schedule, so that
#: a run repeats to the bit.
PIECE_ROWS = 256
#: Rows read in one step while somebody listens: about the work of a few frames.
BUSY_READ_ROWS = 256
#: Steps of waiting that weigh as much as one level of priority (5 s of speech).
AGEING_STEPS = 63


class QueueFullError(RuntimeError):
    """No more requests can wait; try again later."""


class Keyed(Protocol):
    """Rows that are kept or dropped together; equal keys mean equal rows."""

    @property
    def key(self) -> bytes: ...

    def __len__(self) -> int: ...


class Job(Protocol):
    """What the scheduler needs to know of a request."""

    @property
    def blocks(self) -> Sequence[Keyed]: ...

    @property
    def priority(self) -> int: ...

    @property
    def is_held(self) -> bool:
        """Whether its reader lags so far behind that it gets no more frames for now."""
        ...


JobT = TypeVar("JobT", bound=Job)


@dataclass
class Slot(Generic[JobT]):
    """One row of the model's state.

    Attributes:
        index: the row.
        job: who sits in it.
        keys: of the whole blocks that the row's cache surely holds, in order.
        next_row: how much of the first block that is not among `keys` has been read.
        seated: when its job came, in order of coming.
        last_used: when a job last left it, for choosing which memory to give up.
    """

    index: int
    job: JobT | None = None
    keys: list[bytes] = field(default_factory=list)
    next_row: int = 0
    seated: int = 0
    last_used: int = 0

    def num_shared(self, job: JobT) -> int:
        """How many of the job's first blocks this slot holds. The last block is always read."""
        shared = 0
        for held, block in zip(self.keys, job.blocks[:-1], strict=False):
            if held != block.key:
                break
            shared += 1
        return shared

    @property
    def num_kept_rows(self) -> int:
        """Rows of its job that the cache holds in whole blocks."""
        assert self.job is not None
        return sum(len(block) for block in self.job.blocks[: len(self.keys)])

    def next_piece(self) -> Piece[JobT] | None:
        """What its job has to read next. The very last row is left for the first frame."""
        assert self.job is not None
        number = len(self.keys)
        is_last = number == len(self.job.blocks) - 1
        end = len(self.job.blocks[number]) - is_last
        if self.next_row >= end:
            return None
        return Piece(self, number, self.next_row, min(end, self.next_row + PIECE_ROWS))


@dataclass(frozen=True)
class Piece(Generic[JobT]):
    """Rows `begin` to `end` of one block of a slot's job."""

    slot: Slot[JobT]
    block: int
    begin: int
    end: int

    def __len__(self) -> int:
        return self.end - self.begin


@dataclass
class _Waiting(Generic[JobT]):
    job: JobT
    since: int


class Scheduler(Generic[JobT]):
    """Gives waiting jobs slots, divides what they have to read, and says who speaks.

    Args:
        num_slots: jobs served at once.
        max_waiting: jobs that may wait beside them.
    """

    def __init__(self, num_slots: int, max_waiting: int = 1_000) -> None:
        if num_slots < 1 or max_waiting < 1:
            raise ValueError(
                f"num_slots must be at least 1, not {num_slots}; "
                f"max_waiting at least 1, not {max_waiting}"
            )
        self.slots: list[Slot[JobT]] = [Slot(index) for index in range(num_slots)]
        self.max_waiting = max_waiting
        self._waiting: list[_Waiting[JobT]] = []
        self._step = 0
        self._clock = 0

    @property
    def live(self) -> list[Slot[JobT]]:
        """Slots with a job."""
        return [slot for slot in self.slots if slot.job is not None]

    @property
    def speaking(self) -> list[Slot[JobT]]:
        """Slots whose job has read everything and whose reader keeps up."""
        return [
            slot
            for slot in self.live
            if slot.job is not None and not slot.job.is_held and slot.next_piece() is None
        ]

    @property
    def num_waiting(self) -> int:
        return len(self._waiting)

    # --- Queue and slots ----------------------------------------------------------------------

    def add(self, job: JobT) -> None:
        """Lets a job wait for a slot.

        Raises:
            QueueFullError: as many wait as may.
        """
        if len(self._waiting) >= self.max_waiting:
            raise QueueFullError(
                f"{len(self._waiting)} requests wait, which is as many as may, and "
                f"{len(self.live)} are spoken; try again later"
            )
        self._waiting.append(_Waiting(job, self._step))

    def begin_step(self) -> None:
        """A step begins: who waits grows older."""
        self._step += 1

    def seat(self) -> Slot[JobT] | None:
        """Gives the most urgent waiting job the free slot that remembers most of its rows."""
        free = [slot for slot in self.slots if slot.job is None]
        if not self._waiting or not free:
            return None
        first = max(self._waiting, key=self._urgency)  # of equals the one that came first
        self._waiting.remove(first)
        job = first.job
        slot = max(free, key=lambda slot: (slot.num_shared(job), -slot.last_used))
        slot.keys = slot.keys[: slot.num_shared(job)]
        self._clock += 1
        slot.job, slot.next_row, slot.seated = job, 0, self._clock
        return slot

    def _urgency(self, waiting: _Waiting[JobT]) -> float:
        return waiting.job.priority + (self._step - waiting.since) / AGEING_STEPS

    def release(self, slot: Slot[JobT], last_key: bytes | None) -> None:
        """Frees a slot; `last_key` names its last block with the frames made since, if kept."""
        self._clock += 1
        slot.job = None
        slot.next_row = 0
        slot.last_used = self._clock
        if last_key is not None:
            slot.keys.append(last_key)

    def withdraw(self, job: JobT) -> bool:
        """Takes a job out of the queue; whether it was still there."""
        for waiting in self._waiting:
            if waiting.job is job:
                self._waiting.remove(waiting)
                return True
        return False

    # --- Reading ------------------------------------------------------------------------------

    def pieces(self) -> Iterator[Piece[JobT]]:
        """What is to be read in this step: everything, or a bounded part while somebody listens.

        `note_read` comes between one piece and the next. Whoever has least left comes first.
        """
        budget = BUSY_READ_ROWS if self.speaking else None
        while reading := [slot for slot in self.live if slot.next_piece() is not None]:
            piece = min(reading, key=self._num_unread).next_piece()
            assert piece is not None
            if budget is not None and len(piece) > budget:
                return
            budget = None if budget is None else budget - len(piece)
            yield piece

    def note_read(self, piece: Piece[JobT]) -> None:
        """A piece is in the cache. The last block grows by frames until the release."""
        slot = piece.slot
        assert slot.job is not None
        slot.next_row = piece.end
        block = slot.job.blocks[piece.block]
        if piece.end == len(block):
            slot.keys.append(block.key)
            slot.next_row = 0

    @staticmethod
    def _num_unread(slot: Slot[JobT]) -> int:
        assert slot.job is not None
        left = slot.job.blocks[len(slot.keys) :]
        return sum(len(block) for block in left) - slot.next_row
