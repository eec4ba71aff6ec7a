"""What is spoken: 100 sentences and 10 dialogues of the project's own, none of the corpus."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent
DIALOGUE_VOICES = 2


@dataclass(frozen=True)
class Line:
    """One turn of a dialogue: "S1" or "S2" and what is said."""

    speaker: str
    text: str


@dataclass(frozen=True)
class Dialogue:
    id: str
    lines: tuple[Line, ...]


def load_sentences(count: int) -> list[str]:
    """The first `count` held-out sentences, in the order of the file.

    Raises:
        ValueError: More are asked for than there are, or none.
    """
    sentences = (FOLDER / "sentences.txt").read_text(encoding="utf-8").splitlines()
    return sentences[: _checked_count(count, len(sentences), "sentences")]


def load_dialogues(count: int) -> list[Dialogue]:
    """The first `count` dialogues; raises ValueError as `load_sentences` does."""
    rows = json.loads((FOLDER / "dialogues.json").read_text(encoding="utf-8"))
    dialogues = [Dialogue(row["id"], tuple(Line(**turn) for turn in row["turns"])) for row in rows]
    return dialogues[: _checked_count(count, len(dialogues), "dialogues")]


def voice_pair(index: int, voices: Sequence[str]) -> tuple[str, str]:
    """Two different voices for dialogue number `index`; no pair comes twice before all came.

    Raises:
        ValueError: There are fewer than two voices.
    """
    if len(voices) < DIALOGUE_VOICES:
        raise ValueError(f"dialogues need two named voices, the model has {list(voices)}")
    pairs = list(itertools.combinations(sorted(voices), 2))
    random.Random(0).shuffle(pairs)
    return pairs[index % len(pairs)]


def _checked_count(count: int, available: int, what: str) -> int:
    if not 1 <= count <= available:
        raise ValueError(f"{count} {what} asked for, 1 to {available} are there")
    return count
