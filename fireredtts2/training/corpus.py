"""A prepared folder of speech: its index, its samples, its codes, and which clips are held out."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

HELD_OUT_ENDINGS = range(4)  # ids whose last two digits are 00 to 03
PCM_SCALE = 32_768

Row = dict[str, Any]


def is_held_out(clip_id: int) -> bool:
    """Whether a clip is kept for evaluation."""
    return clip_id % 100 in HELD_OUT_ENDINGS


def read_metadata(shard: tarfile.TarFile) -> list[Row]:
    """What a shard of the corpus says of each clip: id, speaker, style, speed, kind, text."""
    metadata = shard.extractfile("metadata.jsonl")
    assert metadata is not None
    return [json.loads(line) for line in metadata.read().decode("utf-8").splitlines()]


def read_index(work: Path) -> dict[int, Row]:
    """Metadata of every clip by id: speaker, text, shard, offset and samples at 24 kHz."""
    lines = (work / "index.jsonl").read_text(encoding="utf-8").splitlines()
    return {row["id"]: row for row in map(json.loads, lines)}


def open_samples(work: Path) -> np.ndarray:
    """All clips' samples, int16 at 24 kHz, mapped and not read."""
    return np.memmap(work / "audio_24k.i16", np.int16, "r")


def sound(samples: np.ndarray, begin: int, end: int, length: int) -> np.ndarray:
    """(length,) float32: samples `begin` to `end`, then silence."""
    audio = np.zeros(length, np.float32)
    if end > begin:
        audio[: end - begin] = samples[begin:end].astype(np.float32) / PCM_SCALE
    return audio


def read_codes(work: Path) -> Iterator[tuple[int, np.ndarray]]:
    """(clip id, codes (Q, frames) int16) of every tokenised clip."""
    for path in sorted(work.glob("codes_[0-9][0-9][0-9].npz")):
        shard = np.load(path)
        parts = np.split(shard["codes"], np.cumsum(shard["frames"])[:-1], axis=1)
        yield from zip(map(int, shard["clip"]), parts, strict=True)
