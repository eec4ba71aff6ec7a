"""Step 1, more voices: every clip once more as somebody else might say it.

    python -m recipes.mini.vary WORK_DIR

Resampling by a few per cent moves pitch, formants and speed together: another voice, for almost no
work. Each speaker has one factor of its own, so that its varied clips are again one voice. They are
appended to what step 1 wrote, shard by shard, with ids of their own that keep their last two
digits: what is held out stays held out. A second run goes on after the last whole shard.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import soxr

from fireredtts2.config import OUTPUT_RATE_HZ
from fireredtts2.training.corpus import PCM_SCALE, Row, open_samples, read_index
from recipes.mini.decode_corpus import append_shards

FIRST_VARIED_ID = 1_000_000  # above every clip's own
FIRST_VARIED_SHARD = 500  # later steps name their files by a shard's last three digits
SMALLEST_CHANGE, LARGEST_CHANGE = 0.04, 0.10


def factor_of(speaker: str) -> float:
    """How much faster and higher: 4 to 10 % up or down, always the same for a speaker."""
    digest = hashlib.blake2b(speaker.encode(), digest_size=8).digest()
    share = int.from_bytes(digest[:4], "big") / 2**32
    change = SMALLEST_CHANGE + share * (LARGEST_CHANGE - SMALLEST_CHANGE)
    return 1 + change if digest[4] % 2 else 1 - change


def varied(samples: np.ndarray, factor: float) -> np.ndarray:
    """(n,) int16 played `factor` times as fast: (about n / factor,) int16."""
    audio = soxr.resample(samples.astype(np.float32) / PCM_SCALE, factor, 1.0)
    return (np.clip(audio, -1, 1) * (PCM_SCALE - 1)).astype(np.int16)


def varied_shard(shard: str) -> str:
    """The name of the shard that a shard's varied clips make.

    Raises:
        ValueError: its number is one that later steps would take for another shard's.
    """
    number = int(Path(shard).stem[-3:])
    if number >= FIRST_VARIED_SHARD:
        raise ValueError(
            f"{shard}: its varied clips would have the files of another shard; allowed: numbers "
            f"below {FIRST_VARIED_SHARD}"
        )
    return f"varied_{FIRST_VARIED_SHARD + number:03d}.tar"


def varied_clips(rows: list[Row], source: np.ndarray) -> Iterator[tuple[Row, np.ndarray]]:
    """The clips that rows make, out of all samples."""
    for row in rows:
        factor = factor_of(row["speaker"])
        audio = varied(source[row["offset"] : row["offset"] + row["samples"]], factor)
        yield varied_row(row, len(audio)), audio


def varied_row(row: Row, num_samples: int) -> Row:
    """The metadata of a varied clip, but for its place."""
    return row | {
        "id": row["id"] + FIRST_VARIED_ID,
        "speaker": f"{row['speaker']}~{factor_of(row['speaker']):.3f}",
        "seconds": num_samples / OUTPUT_RATE_HZ,
    }


def main(work_dir: str) -> None:
    work = Path(work_dir)
    by_shard: dict[str, list[Row]] = {}
    for row in read_index(work).values():
        if row["id"] < FIRST_VARIED_ID:
            by_shard.setdefault(row["shard"], []).append(row)
    source = open_samples(work)
    shards = {
        varied_shard(shard): partial(varied_clips, rows, source)
        for shard, rows in sorted(by_shard.items())
    }
    append_shards(work, shards)


if __name__ == "__main__":
    main(*sys.argv[1:])
