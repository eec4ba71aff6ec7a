"""The scheduler alone: it knows keys, not tensors."""

import ast
from dataclasses import dataclass, field
from pathlib import Path
from string import ascii_uppercase
from types import ModuleType

import pytest

from fireredtts2.engine import kept_work, scheduler
from fireredtts2.engine import slot as slot_module
from fireredtts2.engine.kept_work import WANTED_JOBS_PER_SLOT
from fireredtts2.engine.scheduler import (
    AGEING_STEPS,
    BUSY_READ_ROWS,
    QueueFullError,
    Scheduler,
    Slot,
)


@dataclass(frozen=True)
class Key:
    key: bytes
    length: int

    def __len__(self) -> int:
        return self.length


@dataclass(eq=False)
class Work:
    names: str
    priority: int = 0
    is_held: bool = False
    length: int = 10
    blocks: list[Key] = field(init=False)

    def __post_init__(self) -> None:
        self.blocks = [Key(name.encode(), self.length) for name in self.names]


def read(schedule: Scheduler) -> list[tuple[int, int, int]]:
    """Reads what a step reads: (block, begin, end) of every piece."""
    done = []
    for piece in schedule.pieces():
        schedule.note_read(piece)
        done.append((piece.block, piece.begin, piece.end))
    return done


def seat(schedule: Scheduler) -> Slot:
    slot = schedule.seat()
    assert slot is not None
    return slot


def begin(schedule: Scheduler, work: Work) -> tuple[Slot, int]:
    """Seats a job and reads what it has to; how many blocks it found, here or elsewhere."""
    schedule.add(work)
    slot = seat(schedule)
    borrow(schedule)
    found = len(slot.keys)
    read(schedule)
    return slot, found


def borrow(schedule: Scheduler) -> list[tuple[int, int, int]]:
    """Copies what is to be copied: (from, to, rows) of every copy."""
    done = []
    for slot in schedule.borrowing:
        assert slot.donor is not None
        done.append((slot.donor.index, slot.index, slot.num_lent_rows))
        schedule.note_copied(slot)
    return done


def serve(schedule: Scheduler, work: Work, last: bytes | None = None) -> tuple[int, int]:
    """Runs one job to its end: which slot it got, and how many blocks it found."""
    slot, found = begin(schedule, work)
    schedule.release(slot, last)
    return slot.index, found


@pytest.mark.parametrize("module", [scheduler, slot_module, kept_work])
def test_imports_no_torch(module: ModuleType):
    tree = ast.parse(Path(str(module.__file__)).read_text(encoding="utf-8"))
    names = {alias.name for node in ast.walk(tree) for alias in getattr(node, "names", [])}
    modules = {getattr(node, "module", None) for node in ast.walk(tree)}
    assert not {"torch", "numpy"} & (names | modules)


def test_finds_what_a_slot_has_read():
    schedule: Scheduler = Scheduler(1)
    assert serve(schedule, Work("abc"), last=b"C") == (0, 0)
    assert serve(schedule, Work("abCd"), last=b"D") == (0, 3)
    assert serve(schedule, Work("abCDe")) == (0, 4)


def test_last_block_is_always_read():
    schedule: Scheduler = Scheduler(1)
    serve(schedule, Work("abc"), last=b"c")
    assert serve(schedule, Work("abc")) == (0, 2)


def test_nothing_is_shared_after_a_difference():
    schedule: Scheduler = Scheduler(1)
    serve(schedule, Work("abcd"), last=b"d")
    assert serve(schedule, Work("axcde")) == (0, 1)
    assert serve(schedule, Work("abcde")) == (0, 1)


def test_what_was_read_before_an_interruption_is_remembered():
    schedule: Scheduler = Scheduler(1)
    schedule.add(Work("abc"))
    slot = seat(schedule)
    for piece in schedule.pieces():
        if piece.block == 1:
            break  # reading broke off here
        schedule.note_read(piece)
    schedule.release(slot, None)
    assert serve(schedule, Work("abc")) == (0, 1)


# --- Shared work ------------------------------------------------------------------------------


def test_a_slot_that_speaks_lends_what_it_has_read():
    schedule: Scheduler = Scheduler(2)
    begin(schedule, Work("abc"))
    schedule.add(Work("abd"))
    late = seat(schedule)
    assert (late.index, late.keys) == (1, [])
    assert borrow(schedule) == [(0, 1, 20)]
    assert late.keys == [b"a", b"b"]
    assert (late.donor, schedule.borrowing) == (None, [])
    assert read(schedule) == [(2, 0, 9)]


def test_a_free_slot_lends_and_stays_as_it_is():
    schedule: Scheduler = Scheduler(2)
    serve(schedule, Work("abc"), last=b"C")
    assert serve(schedule, Work("abCd")) == (0, 3)
    assert serve(schedule, Work("abx")) == (1, 2), "an empty slot is there to be filled"
    assert schedule.slots[0].keys == [b"a", b"b", b"C"]


def test_who_comes_together_reads_once():
    schedule: Scheduler = Scheduler(3)
    for name in "xyz":
        schedule.add(Work(f"v{name}", length=600))
        assert borrow(schedule) == []
    for _ in range(3):
        seat(schedule)
    done: list[object] = []
    for piece in schedule.pieces():
        schedule.note_read(piece)
        done.append((piece.slot.index, piece.block, len(piece)))
        done += borrow(schedule)
    voice = [(0, 0, 256), (0, 0, 256), (0, 0, 88), (0, 1, 600), (0, 2, 600)]
    assert done[:5] == voice
    assert all(block == 1 for _, block, _ in done[5:])


def test_a_block_that_is_half_read_may_be_borrowed_whole():
    schedule: Scheduler = Scheduler(3)
    begin(schedule, Work("x", length=1))  # somebody listens
    schedule.add(Work("vabc", length=300))
    long = seat(schedule)
    assert read(schedule) == [(0, 0, 256)]
    schedule.add(Work("vd", length=300))
    short = seat(schedule)
    assert [read(schedule), read(schedule)] == [[(0, 0, 256)], [(0, 256, 300)]]
    assert (short.keys, long.keys, long.next_row) == ([b"v"], [], 256)
    assert borrow(schedule) == [(short.index, long.index, 300)]
    assert (long.keys, long.next_row) == ([b"v"], 0)


def test_a_loan_is_what_the_donor_holds_when_it_is_copied():
    schedule: Scheduler = Scheduler(2)
    donor, _ = begin(schedule, Work("abc"))
    schedule.add(Work("abd"))
    late = seat(schedule)
    schedule.release(donor, None)  # as after an error
    donor.keys.clear()
    assert schedule.borrowing == []
    assert read(schedule) == [(0, 0, 10), (1, 0, 10), (2, 0, 9)]
    assert late.keys == [b"a", b"b"]


def test_gives_up_what_another_slot_holds_too():
    schedule: Scheduler = Scheduler(3)
    serve(schedule, Work("ab"))
    serve(schedule, Work("cd"))
    serve(schedule, Work("ae"))
    assert [slot.keys for slot in schedule.slots] == [[b"a"], [b"c"], []]
    other, _ = begin(schedule, Work("ag"))
    late, found = begin(schedule, Work("ah"))
    assert (other.index, late.index, found) == (0, 2, 1)
    schedule.release(late, None)
    assert serve(schedule, Work("xy")) == (2, 0), "c is in slot 1 alone, and is longer unused"


def test_of_equal_memories_the_one_longest_unused_goes():
    schedule: Scheduler = Scheduler(2)
    assert serve(schedule, Work("ab")) == (0, 0)
    assert serve(schedule, Work("cd")) == (1, 0)
    assert serve(schedule, Work("ef")) == (0, 0)
    assert serve(schedule, Work("gh")) == (1, 0)


def test_what_was_found_again_stays_but_not_for_ever():
    schedule: Scheduler = Scheduler(2)
    serve(schedule, Work("ab"))
    serve(schedule, Work("ac"))
    letters = iter(ascii_uppercase)
    for _ in range(2 * WANTED_JOBS_PER_SLOT):
        assert serve(schedule, Work(f"{next(letters)}.")) == (1, 0)
    assert serve(schedule, Work(f"{next(letters)}.")) == (0, 0)


def test_jobs_sit_low_and_memories_move_up():
    schedule: Scheduler = Scheduler(3)
    swaps: list[tuple[int, int]] = []

    def one(work: Work) -> Slot:
        schedule.add(work)
        slot = schedule.seat(lambda *slots: swaps.append(slots))
        assert slot is not None
        borrow(schedule)
        read(schedule)
        return slot

    schedule.release(one(Work("ab")), b"B")
    low = one(Work("ac"))
    assert (low.index, swaps) == (0, [(1, 0)])
    assert schedule.slots[1].keys == [b"a", b"B"]
    assert low.keys == [b"a"]
    assert one(Work("aBd")).index == 1, "in its own memory"
    assert one(Work("x")).index == 2
    assert len(swaps) == 1


def test_memories_are_forgotten_if_they_cannot_be_moved():
    schedule: Scheduler = Scheduler(2)
    serve(schedule, Work("ab"))

    def broken(high: int, low: int) -> None:
        raise RuntimeError("no")

    schedule.add(Work("xy"))
    slot = schedule.seat(broken)
    assert slot is schedule.slots[0]
    assert [slot.keys for slot in schedule.slots] == [[], []]


def test_says_what_a_job_would_find():
    schedule: Scheduler = Scheduler(2)
    serve(schedule, Work("abc"), last=b"C")
    assert schedule.num_held_rows(Work("abCd")) == 30
    assert schedule.num_held_rows(Work("ab")) == 10
    assert schedule.num_held_rows(Work("b")) == 0


def test_says_whether_there_is_work():
    schedule: Scheduler = Scheduler(1)
    assert not schedule.has_work
    work = Work("a", is_held=True)
    schedule.add(work)
    assert schedule.has_work
    slot = seat(schedule)
    schedule.add(Work("b"))
    assert schedule.has_work, "it has to read"
    read(schedule)
    assert not schedule.has_work, "its reader lags, and no slot is free"
    work.is_held = False
    assert schedule.has_work
    schedule.release(slot, None)
    assert schedule.has_work


# --- Who waits, who reads, who speaks ---------------------------------------------------------


def test_waits_in_order_and_withdraws():
    schedule: Scheduler = Scheduler(1)
    first, second, third = Work("a"), Work("b"), Work("c")
    for work in (first, second, third):
        schedule.add(work)
    slot = seat(schedule)
    assert slot.job is first
    assert schedule.seat() is None
    assert schedule.withdraw(second)
    assert not schedule.withdraw(first)
    schedule.release(slot, None)
    assert seat(schedule).job is third


def test_the_urgent_come_first_but_nobody_waits_for_ever():
    schedule: Scheduler = Scheduler(1)
    low, high = Work("a"), Work("b", priority=1)
    schedule.add(low)
    schedule.add(high)
    slot = seat(schedule)
    assert slot.job is high
    schedule.release(slot, None)
    for _ in range(AGEING_STEPS + 1):
        schedule.begin_step()
    schedule.add(Work("c", priority=1))
    assert seat(schedule).job is low


def test_the_last_row_is_left_for_the_first_frame():
    schedule: Scheduler = Scheduler(1)
    schedule.add(Work("ab"))
    slot = seat(schedule)
    assert schedule.speaking == []
    assert read(schedule) == [(0, 0, 10), (1, 0, 9)]
    assert schedule.speaking == [slot]


def test_a_single_row_is_nothing_to_read():
    schedule: Scheduler = Scheduler(1)
    schedule.add(Work("a", length=1))
    slot = seat(schedule)
    assert read(schedule) == []
    assert schedule.speaking == [slot]


def test_long_blocks_are_read_in_pieces_that_the_schedule_does_not_move():
    alone: Scheduler = Scheduler(1)
    alone.add(Work("ab", length=600))
    seat(alone)
    pieces = read(alone)
    assert pieces[:3] == [(0, 0, 256), (0, 256, 512), (0, 512, 600)]
    busy: Scheduler = Scheduler(2)
    busy.add(Work("x", length=1))
    seat(busy)
    busy.add(Work("ab", length=600))
    seat(busy)
    steps = [read(busy) for _ in range(6)]
    assert [piece for step in steps for piece in step] == pieces
    assert all(sum(end - begin for _, begin, end in step) <= BUSY_READ_ROWS for step in steps)
    assert len(busy.speaking) == 2


def test_the_short_prompt_is_read_before_the_long_one():
    schedule: Scheduler = Scheduler(2)
    schedule.add(Work("ab", length=600))
    schedule.add(Work("c", length=20))
    long, short = seat(schedule), seat(schedule)
    order = []
    for piece in schedule.pieces():
        order.append(piece.slot)
        schedule.note_read(piece)
    assert order[0] is short
    assert set(map(id, order[1:])) == {id(long)}


def test_who_is_held_does_not_speak():
    schedule: Scheduler = Scheduler(1)
    work = Work("a", length=1, is_held=True)
    schedule.add(work)
    slot = seat(schedule)
    assert schedule.speaking == []
    work.is_held = False
    assert schedule.speaking == [slot]


def test_who_may_not_wait_is_refused_where_no_slot_is_left():
    schedule: Scheduler = Scheduler(2)
    schedule.add(Work("a"))
    schedule.add(Work("b"), may_wait=False)  # the other slot is for it
    with pytest.raises(QueueFullError, match="may not wait"):
        schedule.add(Work("c"), may_wait=False)
    assert schedule.num_waiting == 2
    seat(schedule)
    assert schedule.num_free == 1


def test_a_full_queue_says_so():
    schedule: Scheduler = Scheduler(1, max_waiting=2)
    schedule.add(Work("a"))
    schedule.add(Work("b"))
    with pytest.raises(QueueFullError, match="2 requests wait"):
        schedule.add(Work("c"))
    with pytest.raises(ValueError, match="max_waiting at least 1, not 0"):
        Scheduler(1, max_waiting=0)


def test_needs_a_slot():
    with pytest.raises(ValueError, match="at least 1, not 0"):
        Scheduler(0)
