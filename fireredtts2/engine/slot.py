"""One row of the model's state: who sits in it, what it holds, what is to be read into it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

#: Rows read in one pass. Pieces are cut from each block's beginning, whatever the schedule, so that
#: a run repeats to the bit.
PIECE_ROWS = 256


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


@dataclass(eq=False)
class Slot(Generic[JobT]):
    """One row of the model's state.

    Attributes:
        index: the row.
        job: who sits in it.
        is_begun: whether the model and the codec know of the job.
        keys: of the whole blocks that the row's cache surely holds, in order.
        next_row: how much of the first block that is not among `keys` has been read.
        donor: a slot that was seen to hold more of the job's first blocks than this one.
        seated: when its job came, in order of coming.
        last_used: when a job last left it, for choosing which memory to give up.
    """

    index: int
    job: JobT | None = None
    is_begun: bool = False
    keys: list[bytes] = field(default_factory=list)
    next_row: int = 0
    donor: Slot[JobT] | None = field(default=None, repr=False)
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

    @property
    def num_lent(self) -> int:
        """How many of its job's first blocks the donor holds, as it is now."""
        assert self.job is not None
        # NOTE: asked anew each time: the donor's memory may have been given up since it was seen.
        return self.donor.num_shared(self.job) if self.donor is not None else 0

    @property
    def num_lent_rows(self) -> int:
        """Rows of its job to be copied from the donor, from the first on."""
        assert self.job is not None
        return sum(len(block) for block in self.job.blocks[: self.num_lent])

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
