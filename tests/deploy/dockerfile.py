"""Reads container files, as far as ours go."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Instruction:
    """One of a container file: COPY, RUN, ..., with the rest of its line."""

    name: str
    rest: str

    @property
    def words(self) -> list[str]:
        return shlex.split(self.rest)


def stages(path: Path) -> list[list[Instruction]]:
    """The instructions of every stage, its FROM first."""
    found: list[list[Instruction]] = []
    for instruction in instructions(path.read_text(encoding="utf-8")):
        if instruction.name == "FROM":
            found.append([])
        if found:
            found[-1].append(instruction)
    return found


def instructions(text: str) -> Iterator[Instruction]:
    """All of a file, lines that go on joined, comments left out."""
    lines = [line for line in text.splitlines() if not re.match(r"\s*#", line)]
    for line in "\n".join(lines).replace("\\\n", " ").splitlines():
        if line.strip():
            name, _, rest = line.strip().partition(" ")
            yield Instruction(name.upper(), rest.strip())


def copied(stage: list[Instruction]) -> list[tuple[list[str], str]]:
    """What a stage takes from the folder that is built, and where it puts it."""
    words = [one.words for one in stage if one.name == "COPY" and "--from" not in one.rest]
    return [(sources, target) for *sources, target in words]
