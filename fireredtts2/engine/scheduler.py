"""Who sits in which slot, what is read next, and who speaks. Knows keys and counts, not tensors."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic

from fireredtts2.engine.kept_work import KeptWork, Loss
from fireredtts2.engine.slot import JobT, Piece, Slot

logger = logging.getLogger(__name__)

#: Rows read in one step while somebody listens: about the work of a few frames.
BUSY_READ_ROWS = 256
#: Steps of waiting that weigh as much as one level of priority (5 s of speech).
AGEING_STEPS = 63


class QueueFullError(RuntimeError):
    """No more requests can wait; try again later."""


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
        self._kept_work = KeptWork(num_slots)

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
    def borrowing(self) -> list[Slot[JobT]]:
        """Slots whose donor holds more of their job than they do.

        `num_lent_rows` rows are to be copied before anything else is done with either; then comes
        `note_copied`. Whole blocks of a donor do not change while it reads or speaks.
        """
        return [slot for slot in self.live if slot.num_lent > len(slot.keys)]

    @property
    def unbegun(self) -> Slot[JobT] | None:
        """A slot that was seated and not begun: somebody pressed Ctrl-C in between."""
        return next((slot for slot in self.live if not slot.is_begun), None)

    @property
    def num_waiting(self) -> int:
        return len(self._waiting)

    @property
    def num_free(self) -> int:
        """Slots without a job."""
        return len(self.slots) - len(self.live)

    @property
    def has_work(self) -> bool:
        """Whether a step would take anybody further: not where readers hold everyone up."""
        live = self.live
        if self._waiting and len(live) < len(self.slots):
            return True
        return bool(self.speaking) or any(slot.next_piece() is not None for slot in live)

    def num_held_rows(self, job: JobT) -> int:
        """Rows of a job that would not have to be read.

        Any thread may ask, also during a step: what comes is then a step old at most.
        """
        shared = max(slot.num_shared(job) for slot in self.slots)
        return sum(len(block) for block in job.blocks[:shared])

    # --- Queue and slots ----------------------------------------------------------------------

    def add(self, job: JobT, may_wait: bool = True) -> None:
        """Lets a job wait for a slot.

        Args:
            job: is seated when its turn has come.
            may_wait: false for one that is no use unless the next step seats it.

        Raises:
            QueueFullError: as many wait as may, or it would have to and may not.
        """
        if not may_wait and len(self._waiting) >= self.num_free:
            raise QueueFullError("no slot is free for a request that may not wait")
        if len(self._waiting) >= self.max_waiting:
            raise QueueFullError(
                f"{len(self._waiting)} requests wait, which is as many as may, and "
                f"{len(self.live)} are spoken; try again later"
            )
        self._waiting.append(_Waiting(job, self._step))

    def begin_step(self) -> None:
        """A step begins: who waits grows older."""
        self._step += 1

    def seat(self, swap: Callable[[int, int], None] | None = None) -> Slot[JobT] | None:
        """Gives the most urgent waiting job a free slot; it may be `borrowing` then.

        Args:
            swap: exchanges what two slots' caches hold. With it the job sits low where a high slot
                would be the best to give up: a frame costs by the highest slot that speaks.
        """
        free = [slot for slot in self.slots if slot.job is None]
        if not self._waiting or not free:
            return None
        first = max(self._waiting, key=self._urgency)  # of equals the one that came first
        job = first.job
        slot = self._least_missed(free, job)
        if swap is not None and all(slot.index > live.index for live in self.live):
            self._exchange(slot, free[0], swap)
            slot = free[0]
        self._waiting.remove(first)
        slot.keys = slot.keys[: slot.num_shared(job)]
        self._clock += 1
        slot.job, slot.next_row, slot.seated = job, 0, self._clock
        slot.is_begun = False
        others = [other for other in self.slots if other is not slot]
        slot.donor = max(others, key=lambda other: other.num_shared(job), default=None)
        num_found = max(len(slot.keys), slot.num_lent)
        self._kept_work.note_found([block.key for block in job.blocks[:num_found]])
        return slot

    def _least_missed(self, free: Sequence[Slot[JobT]], job: JobT) -> Slot[JobT]:
        """The free slot whose memory is the least loss; of equals the one longest unused."""
        self._kept_work.look(slot.keys for slot in self.slots)

        def rank(slot: Slot[JobT]) -> tuple[int, int, int]:
            num_shared = slot.num_shared(job)
            loss = self._kept_work.loss(slot.keys, num_shared)
            # Blocks that are shared are copied from elsewhere for little; none at all is better.
            return loss, -num_shared if loss is Loss.NOTHING else 0, slot.last_used

        return min(free, key=rank)

    @staticmethod
    def _exchange(high: Slot[JobT], low: Slot[JobT], swap: Callable[[int, int], None]) -> None:
        """Two free slots' memories change places; where that fails both are forgotten."""
        if high is low or not (high.keys or low.keys):
            return
        memories = (low.keys, low.last_used), (high.keys, high.last_used)
        # NOTE: nothing is claimed until it is there.
        high.keys, low.keys = [], []
        try:
            swap(high.index, low.index)
        except Exception as error:
            logger.warning("two slots' memories are lost", exc_info=error)
            return
        (high.keys, high.last_used), (low.keys, low.last_used) = memories

    def _urgency(self, waiting: _Waiting[JobT]) -> float:
        return waiting.job.priority + (self._step - waiting.since) / AGEING_STEPS

    def release(self, slot: Slot[JobT], last_key: bytes | None) -> None:
        """Frees a slot; `last_key` names its last block with the frames made since, if kept."""
        self._clock += 1
        slot.job = slot.donor = None
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
            self._offer(slot)

    def note_copied(self, slot: Slot[JobT]) -> None:
        """The rows that its donor lent are in the slot's cache."""
        assert slot.donor is not None
        assert slot.num_lent > len(slot.keys)
        slot.keys = slot.donor.keys[: slot.num_lent]
        slot.next_row = 0
        slot.donor = None

    def _offer(self, donor: Slot[JobT]) -> None:
        """A block has been read: others that were about to read the same may copy it."""
        for slot in self.live:
            if slot.job is not None and donor.num_shared(slot.job) > len(slot.keys):
                slot.donor = donor

    @staticmethod
    def _num_unread(slot: Slot[JobT]) -> int:
        assert slot.job is not None
        left = slot.job.blocks[len(slot.keys) :]
        return sum(len(block) for block in left) - slot.next_row
