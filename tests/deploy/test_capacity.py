"""The capacity page computes with the benchmarks' figures, and computes right."""

import math
import re
from pathlib import Path

DOCS = Path(__file__).resolve().parents[2] / "docs"
CAPACITY = (DOCS / "capacity.md").read_text(encoding="utf-8")
BENCHMARKS = (DOCS / "benchmarks.md").read_text(encoding="utf-8")
LOAD = 0.75


def measured(row: str) -> str:
    """The float32 column of a row of the CPU's table, which is the first."""
    line = re.findall(rf"^\| {re.escape(row)} \|.*$", BENCHMARKS, re.M)[0]
    return line.split("|")[3].strip()


def listeners() -> int:
    return int(measured("Listeners at once, none late").split()[0])


def test_listeners_are_those_of_the_benchmarks():
    busy = re.findall(r"busy (\d+) %", measured("Listeners at once, none late"))
    assert f"| {listeners()}, busy {busy[0]} % of the time" in CAPACITY


def test_first_sound_and_speed_are_those_of_the_benchmarks():
    assert f"| {measured('First audio, voice kept, ms')} ms in the engine |" in CAPACITY
    (factor,) = re.findall(r"real-time factor ([\d.]+),", BENCHMARKS)
    assert f"| P * {factor} |" in CAPACITY


def test_machines_are_what_the_formula_says():
    per_machine = listeners() * LOAD
    assert f"| P / {per_machine:g} |" in CAPACITY
    assert f"| listeners / {per_machine:g} |" in CAPACITY
    rows = re.findall(r"^\| ([\d,]+) \| ([\d,]+) \|", CAPACITY, re.M)
    assert [row[0] for row in rows] == ["10", "1,000", "100,000"]
    for wanted, machines in rows:
        number = int(wanted.replace(",", ""))
        assert int(machines.replace(",", "")) == math.ceil(number / per_machine)


def test_what_was_not_measured_says_so():
    (line,) = re.findall(r"^\| Listeners at once \| 100 \|.*$", BENCHMARKS, re.M)
    assert ("not measured yet" in line) == ("## GPU: not measured yet" in CAPACITY), (
        "the benchmarks have figures of a GPU now: put them into docs/capacity.md"
    )
