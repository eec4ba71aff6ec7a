"""The scheduler alone: it knows keys, not tensors."""

import ast
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fireredtts2.engine import scheduler
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


def serve(schedule: Scheduler, work: Work, last: bytes | None = None) -> tuple[int, int]:
    """Runs one job to its end: which slot it got, and how many blocks it found there."""
    schedule.add(work)
    slot = seat(schedule)
    found = len(slot.keys)
    read(schedule)
    schedule.release(slot, last)
    return slot.index, found


def test_imports_no_torch():
    tree = ast.parse(Path(scheduler.__file__).read_text(encoding="utf-8"))
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


def test_prefers_the_slot_that_remembers_most_then_the_oldest():
    schedule: Scheduler = Scheduler(2)
    assert serve(schedule, Work("ab")) == (0, 0)
    assert serve(schedule, Work("xy")) == (1, 0)
    assert serve(schedule, Work("ac")) == (0, 1)
    assert serve(schedule, Work("pq")) == (1, 0), "slot 0 was used later"


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
