"""Scores kept on disk, one file an item, so that a run that was stopped goes on where it was."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fireredtts2.evaluation.checksum import fingerprint
from fireredtts2.evaluation.judges import Judges
from fireredtts2.evaluation.report import write_whole

FOLDER = Path(__file__).parent
#: What a score depends on; the report may change without anything being judged anew.
JUDGING_MODULES = (
    "alignment", "asr", "clips", "codec_round_trip", "intrusive", "mel_cepstrum", "metrics",
    "prosody", "quality", "speaker", "time_warping",
)  # fmt: skip
JUDGING_PACKAGES = (
    "faster-whisper", "jiwer", "librosa", "pesq", "pystoi", "resemblyzer", "speechmos",
    "whisper-normalizer",
)  # fmt: skip
DIGITS = 16

Values = dict[str, Any]


class KeptScores:
    """Scores by item name; a kept one counts only if all that went into it is the same.

    Args:
        folder: Where the files lie.
        judges: Who judges; another judge's scores are not used.
    """

    def __init__(self, folder: Path, judges: Judges) -> None:
        self._folder = folder
        self._judges = judge_id(judges)

    def get(self, name: str, inputs: Mapping[str, str], judge: Callable[[], Values]) -> Values:
        """The item's score: from the folder, or judged now and kept.

        Args:
            name: The item's, a file name without suffix.
            inputs: What goes into the score: digests of audio, texts, weights.
            judge: Makes the score, something that JSON can hold.
        """
        path = self._folder / f"{name}.json"
        key = {"judges": self._judges, **inputs}
        kept = _read(path)
        if kept is not None and kept.get("key") == key:
            values: Values = kept["score"]
            return values
        values = judge()
        write_whole(path, json.dumps({"key": key, "score": values}, ensure_ascii=False))
        return values


def judge_id(judges: Judges) -> str:
    """Names the judges: their classes, weights, packages and our code around them."""
    parts = [type(p).__qualname__ for p in judges.members] + [judges.recogniser]
    parts += [f"{name} {_version(name)}" for name in JUDGING_PACKAGES]
    parts.append(fingerprint(FOLDER, [FOLDER / f"{name}.py" for name in JUDGING_MODULES]))
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:DIGITS]


def array_digest(array: np.ndarray) -> str:
    """Digest of an array's values, type and shape."""
    digest = hashlib.sha256(f"{array.dtype} {array.shape}".encode())
    digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:DIGITS]


def _read(path: Path) -> Values | None:
    """The file's values; None where it is missing or damaged."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):
        return None
    return values if isinstance(values, dict) else None


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "-"
