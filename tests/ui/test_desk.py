"""Works are found by a name that nobody guesses, and do not pile up."""

import os
import time
from pathlib import Path

import pytest

from fireredtts2.ui.desk import Desk, DeskLimits
from fireredtts2.ui.errors import StudioError


def test_a_work_is_found_again_by_another_studio(tmp_path: Path) -> None:
    token, made = Desk(tmp_path).new()
    made.change(lambda work: setattr(work, "title", "Mine"))
    assert Desk(tmp_path).get(token).work.title == "Mine"


@pytest.mark.parametrize("token", ["", "a" * 24, "../../../../etc/passwd0000", "é" * 24, "x" * 500])
def test_other_names_find_nothing(tmp_path: Path, token: str) -> None:
    with pytest.raises(StudioError, match="no such work") as told:
        Desk(tmp_path).get(token)
    assert told.value.status == 404


def test_names_are_all_different(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    assert len({desk.new()[0] for _ in range(20)}) == 20


def test_old_works_go(tmp_path: Path) -> None:
    desk = Desk(tmp_path, DeskLimits(ttl_s=100))
    old, _ = desk.new()
    new, _ = desk.new()
    age(tmp_path / old, 1_000)
    desk.sweep()
    with pytest.raises(StudioError):
        desk.get(old)
    desk.get(new)


def test_the_one_unused_for_longest_goes_for_a_new_one(tmp_path: Path) -> None:
    desk = Desk(tmp_path, DeskLimits(max_works=3))
    tokens = [desk.new()[0] for _ in range(3)]
    for n, token in enumerate(tokens):
        age(tmp_path / token, 100 - n)
    desk.get(tokens[0])  # used now
    desk.new()
    assert {path.name for path in tmp_path.iterdir()} >= {tokens[0], tokens[2]}
    assert not (tmp_path / tokens[1]).exists()


def test_much_sound_makes_room(tmp_path: Path) -> None:
    desk = Desk(tmp_path, DeskLimits(max_bytes=10_000))
    first, made = desk.new()
    (made.folder / "a.pcm").write_bytes(bytes(20_000))
    age(made.folder, 50)
    desk.new()
    assert not (tmp_path / first).exists()


def test_what_was_cut_off_by_a_crash_is_removed(tmp_path: Path) -> None:
    token, made = Desk(tmp_path).new()
    (made.folder / "half.part").write_bytes(b"xx")
    Desk(tmp_path).get(token)
    assert not (made.folder / "half.part").exists()


def test_deleting(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    token, made = desk.new()
    desk.delete(token)
    assert not made.folder.exists()


def age(folder: Path, seconds: float) -> None:
    then = time.time() - seconds
    os.utime(folder / "work.json", (then, then))
