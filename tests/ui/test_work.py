"""The turns of a work, and how they are kept."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from fireredtts2.script import parse_script
from fireredtts2.ui.errors import StudioError
from fireredtts2.ui.work import MAX_TURN_CHARACTERS, Sound, Turn, Work
from fireredtts2.ui.work_file import load_work, save_work, work_values

SCRIPT = "Anna: One.\nBen: Two.\n[pause:0.5s]\nAnna: Three."


def spoken(text: str = SCRIPT) -> Work:
    """A work whose turns all have sound."""
    work = Work(voices={"S1": "a", "S2": "b"})
    work.take_script(text, parse_script(text))
    work.turns = [
        replace(turn, sound=Sound(f"s{turn.id}", 24_000, turn.text, work.voices[turn.speaker]))
        for turn in work.turns
    ]
    return work


def lacking(work: Work) -> list[str]:
    return [turn.text for turn in work.turns if not work.is_current(turn)]


def test_a_script_becomes_turns() -> None:
    work = spoken()
    assert [(t.speaker, t.text, t.pause_s) for t in work.turns] == [
        ("S1", "One.", 0.0), ("S2", "Two.", 0.0), ("S1", "Three.", 0.5),
    ]  # fmt: skip
    assert work.names == {"S1": "Anna", "S2": "Ben"}
    assert lacking(work) == []


@pytest.mark.parametrize(
    ("text", "left"),
    [
        (SCRIPT, []),
        (SCRIPT.replace("Two.", "Second."), ["Second."]),
        (SCRIPT + "\nBen: Four.", ["Four."]),
        ("Ben: Zero.\n" + SCRIPT, None),  # Ben is now S1: everybody is another
        ("Anna: One.\nAnna: Three.", []),
        ("Anna: One.\nBen: Two.\n[pause:2s]\nAnna: Three.", []),
        ("Anna: One.\nBen: Two.\nBen: Two.\nAnna: Three.", ["Two."]),
    ],
)
def test_what_is_said_as_before_keeps_its_sound(text: str, left: list[str] | None) -> None:
    work = spoken()
    work.take_script(text, parse_script(text))
    assert lacking(work) == ([t.text for t in work.turns] if left is None else left)


def test_a_pause_needs_no_speech() -> None:
    work = spoken()
    text = SCRIPT.replace("0.5s", "3s")
    work.take_script(text, parse_script(text))
    assert [work.pause_before(n) for n in range(3)] == [0.0, 0.0, 3.0]
    work.gap_s = 0.25
    assert [work.pause_before(n) for n in range(3)] == [0.0, 0.25, 3.0]


@pytest.mark.parametrize("change", [{"speed": 1.2}, {"voices": {"S1": "c", "S2": "b"}}])
def test_another_voice_or_speed_is_spoken_anew(change: dict) -> None:
    work = replace(spoken(), **change)
    assert lacking(work) == (
        ["One.", "Two.", "Three."] if "speed" in change else ["One.", "Three."]
    )


def test_what_is_written_reads_as_the_same_turns() -> None:
    work = spoken()
    again = Work()
    again.take_script(work.written(), parse_script(work.written()))
    assert [(t.speaker, t.text, t.pause_s) for t in again.turns] == [
        (t.speaker, t.text, t.pause_s) for t in work.turns
    ]


def test_it_is_kept_and_found_again(tmp_path: Path) -> None:
    work = spoken()
    save_work(work, tmp_path)
    assert load_work(tmp_path) == work


@pytest.mark.parametrize(
    "damage",
    [
        lambda v: v.pop("turns"),
        lambda v: v.update(version=99),
        lambda v: v.update(format="other"),
        lambda v: v.update(speed=float("nan")),
        lambda v: v.update(gap_s=1e9),
        lambda v: v.update(seed=-1),
        lambda v: v["turns"][0].update(speaker="S9"),
        lambda v: v["turns"][0].update(id=v["turns"][1]["id"]),
        lambda v: v["turns"][0].update(text=7),
        lambda v: v["turns"][0]["sound"].update(name="../../etc/passwd"),
        lambda v: v["turns"][0]["sound"].update(num_samples="many"),
        lambda v: v.update(voices=["a"]),
        lambda v: v.update(next_id=1),
    ],
)
def test_a_damaged_one_is_refused(tmp_path: Path, damage) -> None:
    values = json.loads(json.dumps(work_values(spoken())))
    damage(values)
    (tmp_path / "work.json").write_text(json.dumps(values))
    with pytest.raises(StudioError, match="project"):
        load_work(tmp_path)


@pytest.mark.parametrize("data", [b"", b"\xff\xfe", b"[1]", b"[" * 100_000, b"null"])
def test_bytes_that_are_no_work_are_refused(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "work.json").write_bytes(data)
    with pytest.raises(StudioError, match="project"):
        load_work(tmp_path)


def test_a_turn_that_is_too_long_is_refused() -> None:
    text = "S1: " + "a" * (MAX_TURN_CHARACTERS + 1)
    with pytest.raises(StudioError, match="turn 1 has 20001 characters"):
        Work().take_script(text, parse_script(text))


def test_a_turn_that_is_gone() -> None:
    with pytest.raises(StudioError, match="gone"):
        spoken().put(Turn(99, "S1", "No."))
