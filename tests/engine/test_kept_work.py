"""What slots are said to hold is what is in their caches, whatever happens and breaks off when."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from unittest.mock import patch

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from fireredtts2.engine.kept_work import KeptWork, Loss
from fireredtts2.engine.scheduler import QueueFullError, Scheduler, Slot

Rows = tuple[int, ...]
#: Some begin alike, some are a shorter one with frames made after it: equal in other cuts.
BLOCKS: list[Rows] = [(1,), (1, 2), (1, 2, 3), (2, 3, 4, 5), (4,), (1, 2, 3, 4, 5, 6)]
FRAMES = (2, 3, 4, 5, 6)
PIECE = 2
BUSY = 3


def key_of(rows: Rows) -> bytes:
    return bytes(rows)


@dataclass(frozen=True)
class Segment:
    rows: Rows

    @property
    def key(self) -> bytes:
        return key_of(self.rows)

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(eq=False)
class Work:
    blocks: list[Segment]
    priority: int
    is_held: bool = False
    frames: Rows = ()


class ItBrokeError(Exception):
    """Fails one request."""


class Interrupted(BaseException):
    """Breaks off a whole step."""


def appended(cache: list[object], rows: Rows) -> list[object]:
    """A row in a cache depends on all before it."""
    for row in rows:
        cache = [*cache, (cache[-1] if cache else None, row)]
    return cache


class Caches:
    """What the cache of each slot holds; an action may break off in its middle."""

    def __init__(self, num_slots: int) -> None:
        self.rows: list[list[object]] = [[] for _ in range(num_slots)]
        self.until_error: int | None = None
        self.error: type[BaseException] = ItBrokeError

    def _breaks(self) -> bool:
        if self.until_error is None:
            return False
        self.until_error -= 1
        return self.until_error < 0

    def _end(self, breaks: bool) -> None:
        if breaks:
            self.until_error = None
            raise self.error

    def swap(self, first: int, second: int) -> None:
        breaks = self._breaks()
        a, b = self.rows[first], self.rows[second]
        self.rows[first], self.rows[second] = (b, [object()]) if breaks else (b, a)
        self._end(breaks)

    def copy_rows(self, source: int, target: int, num_rows: int) -> None:
        breaks = self._breaks()
        assert num_rows <= len(self.rows[source])
        if not breaks:
            self.rows[target] = self.rows[source][:num_rows]
        self._end(breaks)

    def read(self, slot: int, rows: Rows) -> None:
        breaks = self._breaks()
        if not breaks:
            self.rows[slot] = appended(self.rows[slot], rows)
        self._end(breaks)


class Steps(RuleBasedStateMachine):
    """An engine's steps over a model of its caches."""

    @initialize(num_slots=st.integers(1, 4))
    def start(self, num_slots: int) -> None:
        self.patches = [
            patch("fireredtts2.engine.slot.PIECE_ROWS", PIECE),
            patch("fireredtts2.engine.scheduler.BUSY_READ_ROWS", BUSY),
        ]
        for one in self.patches:
            one.start()
        self.scheduler: Scheduler[Work] = Scheduler(num_slots, max_waiting=3)
        self.caches = Caches(num_slots)
        self.known = {key_of(rows): rows for rows in BLOCKS}

    def teardown(self) -> None:
        for one in getattr(self, "patches", []):
            one.stop()

    # --- What happens ---------------------------------------------------------------------------

    @rule(blocks=st.lists(st.sampled_from(BLOCKS), min_size=1, max_size=4), high=st.booleans())
    def add(self, blocks: list[Rows], high: bool) -> None:
        try:
            self.scheduler.add(Work([Segment(rows) for rows in blocks], int(high)))
        except QueueFullError:
            assert self.scheduler.num_waiting == 3

    @rule(
        until_error=st.none() | st.integers(0, 6),
        error=st.sampled_from([ItBrokeError, Interrupted]),
        moves=st.booleans(),
    )
    def step(self, until_error: int | None, error: type[BaseException], moves: bool) -> None:
        self.caches.until_error, self.caches.error = until_error, error
        try:
            self._seat(self.caches.swap if moves else None)
            self._read()
            for slot in self.scheduler.speaking:
                with self._failing(slot):
                    self._speak(slot)
        except Interrupted:
            pass
        self.caches.until_error = None

    @precondition(lambda self: self.scheduler.live)
    @rule(data=st.data())
    def hold(self, data: st.DataObject) -> None:
        work = self._any(data).job
        assert work is not None
        work.is_held = not work.is_held

    @precondition(lambda self: self.scheduler.speaking)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        """The model ends a turn: every frame has been read by then."""
        slot = data.draw(st.sampled_from(self.scheduler.speaking))
        work = slot.job
        assert work is not None
        self.caches.read(slot.index, self._next_row(work))
        rows = work.blocks[-1].rows + work.frames
        self.known[key_of(rows)] = rows
        self.scheduler.release(slot, key_of(rows))

    @precondition(lambda self: self.scheduler.live)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        self.scheduler.release(self._any(data), None)

    # --- What holds -----------------------------------------------------------------------------

    @invariant()
    def what_is_claimed_is_there(self) -> None:
        for slot in getattr(self, "scheduler", Scheduler(1)).slots:
            rows: Rows = sum((self.known[key] for key in slot.keys), ())
            expected = appended([], rows)
            assert self.caches.rows[slot.index][: len(expected)] == expected

    @invariant()
    def nobody_claims_the_last_block_while_it_is_spoken(self) -> None:
        for slot in getattr(self, "scheduler", Scheduler(1)).live:
            assert slot.job is not None
            assert len(slot.keys) < len(slot.job.blocks)

    # --- An engine's stages ---------------------------------------------------------------------

    def _seat(self, swap: Callable[[int, int], None] | None) -> None:
        while (slot := self.scheduler.seat(swap)) is not None:
            assert slot.num_kept_rows <= len(self.caches.rows[slot.index])
            del self.caches.rows[slot.index][slot.num_kept_rows :]
            self._borrow()

    def _borrow(self) -> None:
        for slot in self.scheduler.borrowing:
            with self._failing(slot):
                assert slot.donor is not None
                self.caches.copy_rows(slot.donor.index, slot.index, slot.num_lent_rows)
                self.scheduler.note_copied(slot)

    def _read(self) -> None:
        for piece in self.scheduler.pieces():
            work, cache = piece.slot.job, self.caches.rows[piece.slot.index]
            assert work is not None
            assert len(cache) == piece.slot.num_kept_rows + piece.begin
            with self._failing(piece.slot):
                rows = work.blocks[piece.block].rows[piece.begin : piece.end]
                self.caches.read(piece.slot.index, rows)
                self.scheduler.note_read(piece)
            self._borrow()

    def _speak(self, slot: Slot[Work]) -> None:
        work = slot.job
        assert work is not None
        if len(work.frames) < len(FRAMES):
            self.caches.read(slot.index, self._next_row(work))
            work.frames = FRAMES[: len(work.frames) + 1]

    @staticmethod
    def _next_row(work: Work) -> Rows:
        """The last row of the text, then each frame."""
        return (*work.blocks[-1].rows, *work.frames)[-1:]

    @contextmanager
    def _failing(self, slot: Slot[Work]) -> Iterator[None]:
        try:
            yield
        except ItBrokeError:
            self.scheduler.release(slot, None)
            slot.keys.clear()
            self.caches.rows[slot.index] = [object()]

    def _any(self, data: st.DataObject) -> Slot[Work]:
        return data.draw(st.sampled_from(self.scheduler.live))


class TestSteps(Steps.TestCase):
    settings = settings(max_examples=150, stateful_step_count=30, deadline=None, derandomize=True)


def test_a_beginning_that_two_hold_is_no_loss():
    kept = KeptWork(2)
    memories = [[b"a", b"b"], [b"a", b"b", b"c"]]
    kept.look(memories)
    assert kept.loss(memories[0], 0) is Loss.NOTHING
    assert kept.loss(memories[1], 0) is Loss.UNUSED
    assert kept.loss(memories[1], 3) is Loss.NOTHING
    kept.look([[b"a", b"b"], [b"x", b"b"]])
    assert kept.loss([b"x", b"b"], 0) is Loss.UNUSED, "not the same b: what is before it counts"


def test_what_nobody_holds_any_more_is_forgotten():
    kept = KeptWork(1)
    kept.note_found([b"a", b"b"])
    kept.look([[b"a", b"b"]])
    assert kept.loss([b"a", b"b"], 0) is Loss.WANTED
    kept.look([[b"a"]])
    kept.look([[b"a", b"b"]])
    assert kept.loss([b"a", b"b"], 1) is Loss.UNUSED
    assert kept.loss([b"a", b"b"], 0) is Loss.WANTED
