"""A small source of clips and one conversation, and options for it."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fireredtts2.training.prepare.checks import Limits
from fireredtts2.training.prepare.options import PrepareOptions
from tests.training.prepare.speech import write_clip

MakeOptions = Callable[..., PrepareOptions]


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A manifest: 9 clips of three speakers, one of them twice, one silent, and a conversation."""
    root = tmp_path_factory.mktemp("source")
    rows: list[dict[str, Any]] = []
    for number in range(9):
        name = f"clip{number}.wav"
        write_clip(root / name, 0.8 + 0.1 * number, number)
        rows.append({"audio": name, "text": f"This is number {number}.",
                     "speaker": f"Speaker {number % 3}", "language": "en"})  # fmt: skip
    rows.append({**rows[2], "id": "again"})
    write_clip(root / "soft.wav", 1.0, 50, level_dbfs=-70.0)
    rows.append({**rows[0], "audio": "soft.wav"})
    write_clip(root / "talk.flac", 9.0, 77)
    turns = [
        {"speaker": speaker, "text": "Something is said.", "start": 1.5 * n, "end": 1.5 * n + 1.4}
        for n, speaker in enumerate(["Ann", "Bob", "Speaker 1", "Ann", "Dan", "Eve"])
    ]
    rows.append({"audio": "talk.flac", "turns": turns, "id": "talk", "language": "en"})
    path = root / "set.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.fixture
def make_options(source: Path, tiny_checkpoint: Path, tmp_path: Path) -> MakeOptions:
    """Options for the source; keywords replace them."""

    def made(**changes: Any) -> PrepareOptions:
        limits = Limits(**changes.pop("limits", {}))
        plain = {"source": source, "out": tmp_path / "set", "model": str(tiny_checkpoint),
                 "validation": 0.2, "shard_samples": 3}  # fmt: skip
        return PrepareOptions(limits=limits, **{**plain, **changes})

    return made
