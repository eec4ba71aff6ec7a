"""The scheduler alone: it knows keys, not tensors."""

import ast
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from fireredtts2.engine import scheduler
from fireredtts2.engine.scheduler import Scheduler


@dataclass(frozen=True)
class Key:
    key: bytes

    def __len__(self) -> int:
        return 10


@dataclass(eq=False)
class Work:
    names: str
    blocks: list[Key] = field(init=False)

    def __post_init__(self) -> None:
        self.blocks = [Key(name.encode()) for name in self.names]


def serve(schedule: Scheduler, work: Work, last: bytes | None = None) -> tuple[int, int]:
    """Runs one job to its end: which slot it got, and how many blocks it found there."""
    schedule.add(work)
    admission = schedule.admit()
    assert admission is not None
    schedule.note_read(admission)
    schedule.release(admission.slot, last)
    return admission.slot.index, admission.first_block


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


def test_unread_blocks_are_not_remembered_when_interrupted():
    schedule: Scheduler = Scheduler(1)
    schedule.add(Work("abc"))
    admission = schedule.admit()
    assert admission is not None
    schedule.release(admission.slot, None)  # reading broke off: `note_read` was never called
    assert serve(schedule, Work("abc")) == (0, 0)


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
    admission = schedule.admit()
    assert admission is not None
    assert admission.job is first
    assert schedule.admit() is None
    assert schedule.withdraw(second)
    assert not schedule.withdraw(first)
    schedule.release(admission.slot, None)
    seated = schedule.admit()
    assert seated is not None
    assert seated.job is third


def test_needs_a_slot():
    with pytest.raises(ValueError, match="at least 1, not 0"):
        Scheduler(0)
