"""The held-out clips of the training corpus: ids whose last two digits are 00 to 03."""

from __future__ import annotations

import io
import random
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from fireredtts2.training.corpus import is_held_out, read_metadata

RARE_WORDS_KIND = "list"  # word lists, on which the recogniser errs more than any codec
MIN_RECORDING_S = 2.0  # shorter clips make poor speaker embeddings


@dataclass(frozen=True)
class HeldOutClip:
    """One clip, its audio still encoded."""

    id: int
    speaker: str
    kind: str
    text: str
    seconds: float
    encoded: bytes

    def audio(self) -> tuple[np.ndarray, int]:
        """Decodes to (samples,) float32 and its rate in Hz."""
        audio, rate_hz = soundfile.read(io.BytesIO(self.encoded), dtype="float32", always_2d=True)
        return audio[:, 0], rate_hz


def read_held_out(corpus: str | Path) -> list[HeldOutClip]:
    """Reads the held-out clips of all shards of a corpus folder.

    Raises:
        ValueError: The folder holds no `shard_*.tar`.
    """
    shards = sorted(Path(corpus).glob("shard_*.tar"))
    if not shards:
        raise ValueError(f"{corpus}: no shard_*.tar in this folder; it is not the speech corpus")
    return [clip for shard in shards for clip in _read_shard(shard)]


def _read_shard(path: Path) -> list[HeldOutClip]:
    with tarfile.open(path) as tar:
        rows = [row for row in read_metadata(tar) if is_held_out(row["id"])]
        held_out = {f"{row['id']:05d}.opus": row for row in rows}
        return [
            _clip(held_out[member.name], tar.extractfile(member).read())  # type: ignore[union-attr]
            for member in tar
            if member.name in held_out
        ]


def _clip(row: dict[str, Any], encoded: bytes) -> HeldOutClip:
    return HeldOutClip(row["id"], row["speaker"], row["kind"], row["text"], row["seconds"], encoded)


def draw_clips(clips: Sequence[HeldOutClip], count: int, seed: int) -> list[HeldOutClip]:
    """Draws clips for the codec's round trip, word lists left out, in order of id."""
    spoken = [clip for clip in clips if clip.kind != RARE_WORDS_KIND]
    drawn = random.Random(seed).sample(spoken, min(count, len(spoken)))
    return sorted(drawn, key=lambda clip: clip.id)


def recordings_of(voice: str, clips: Sequence[HeldOutClip], count: int) -> list[HeldOutClip]:
    """The first clips of a named voice that are long enough to know a voice by.

    "heart" and "af_heart" both name the corpus speaker af_heart.
    """
    return [
        clip
        for clip in clips
        if voice in (clip.speaker, clip.speaker.partition("_")[2])
        and clip.seconds >= MIN_RECORDING_S
    ][:count]
