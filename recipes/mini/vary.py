"""Step 1, more voices: every clip once more as somebody else might say it.

    python -m recipes.mini.vary WORK_DIR

Resampling by a few per cent moves pitch, formants and speed together: another voice, for almost no
work. Each speaker has one factor of its own, so that its varied clips are again one voice. They are
appended to what step 1 wrote, shard by shard, with ids of their own that keep their last two
digits: what is held out stays held out. A second run goes on after the last whole shard.
"""

from __future__ import annotations

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import soxr

from fireredtts2.config import OUTPUT_RATE_HZ
from fireredtts2.training.corpus import PCM_SCALE, open_samples, read_index
from recipes.mini.decode_corpus import done_shards

FIRST_VARIED_ID = 1_000_000  # above every clip's own
FIRST_VARIED_SHARD = 500  # later steps name their files by a shard's last three digits
SMALLEST_CHANGE, LARGEST_CHANGE = 0.04, 0.10

Row = dict[str, Any]


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
    """The name of the shard that a shard's varied clips make."""
    return f"varied_{FIRST_VARIED_SHARD + int(Path(shard).stem[-3:]):03d}.tar"


def varied_row(row: Row, offset: int, num_samples: int) -> Row:
    """The metadata of a varied clip."""
    return row | {
        "id": row["id"] + FIRST_VARIED_ID,
        "speaker": f"{row['speaker']}~{factor_of(row['speaker']):.3f}",
        "shard": varied_shard(row["shard"]),
        "offset": offset,
        "samples": num_samples,
        "seconds": num_samples / OUTPUT_RATE_HZ,
    }


def main(work_dir: str) -> None:
    work = Path(work_dir)
    index = work / "index.jsonl"
    originals = [row for row in read_index(work).values() if row["id"] < FIRST_VARIED_ID]
    done, offset = done_shards(index)
    source = open_samples(work)
    with open(work / "audio_24k.i16", "r+b") as samples_file:
        samples_file.truncate(offset * 2)
        samples_file.seek(offset * 2)
        for shard in sorted({row["shard"] for row in originals}):
            if varied_shard(shard) in done:
                continue
            lines = []
            for row in originals:
                if row["shard"] != shard:
                    continue
                clip = source[row["offset"] : row["offset"] + row["samples"]]
                audio = varied(clip, factor_of(row["speaker"]))
                samples_file.write(audio.tobytes())
                lines.append(json.dumps(varied_row(row, offset, len(audio))))
                offset += len(audio)
            samples_file.flush()
            with open(index, "a", encoding="utf-8") as index_file:
                index_file.write("\n".join(lines) + "\n")
            print(f"{varied_shard(shard)}: {len(lines)} clips")


if __name__ == "__main__":
    main(*sys.argv[1:])
