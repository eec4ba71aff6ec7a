"""Step 1: unpack the corpus shards into one flat file of 24 kHz samples and an index.

    python -m recipes.mini.decode_corpus CORPUS_DIR WORK_DIR

Writes `audio_24k.i16` (int16 samples of all clips, one after the other) and `index.jsonl` (a clip's
metadata with its offset and length in samples); of several channels the first is taken. A second
run goes on after the last whole shard.
"""

from __future__ import annotations

import io
import json
import re
import sys
import tarfile
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
import soxr

from fireredtts2.atomic_file import atomic_path
from fireredtts2.training.corpus import Row, read_index

SAMPLE_RATE_HZ = 24_000
BYTES_PER_SAMPLE = 2

Clips = Iterable[tuple[Row, np.ndarray]]  # metadata with (samples,) int16


def decode_clip(data: bytes) -> np.ndarray:
    """Decodes one Opus file to (samples,) int16 at 24 kHz; the first channel where it has more."""
    audio, rate_hz = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    audio = soxr.resample(audio[:, 0], rate_hz, SAMPLE_RATE_HZ)
    return (np.clip(audio, -1, 1) * 32767).astype(np.int16)


def read_shard(path: Path) -> list[tuple[Row, np.ndarray]]:
    """The clips of a shard, in the order of its metadata."""
    with tarfile.open(path) as tar:
        files = {m.name: tar.extractfile(m).read() for m in tar.getmembers() if m.isfile()}
    rows = [json.loads(line) for line in files["metadata.jsonl"].decode().splitlines()]
    return [(row, decode_clip(files[f"{row['id']:05d}.opus"])) for row in rows]


def append_shards(work: Path, shards: Mapping[str, Callable[[], Clips]]) -> None:
    """Adds the clips of shards, given by name, that the folder does not hold yet.

    A shard's samples come first, then the whole index is written anew: what the index names is
    there, and what a cut run left behind it is overwritten.
    """
    index = work / "index.jsonl"
    rows = list(read_index(work).values()) if index.exists() else []
    done = {row["shard"] for row in rows}
    offset = max((row["offset"] + row["samples"] for row in rows), default=0)
    with open(work / "audio_24k.i16", "r+b" if rows else "wb") as samples_file:
        samples_file.truncate(offset * BYTES_PER_SAMPLE)
        samples_file.seek(offset * BYTES_PER_SAMPLE)
        for name, read in shards.items():
            if name in done:
                continue
            count = len(rows)
            for row, audio in read():
                samples_file.write(audio.tobytes())
                rows.append(row | {"shard": name, "offset": offset, "samples": len(audio)})
                offset += len(audio)
            samples_file.flush()
            write_index(index, rows)
            hours = offset / SAMPLE_RATE_HZ / 3600
            print(f"{name}: {len(rows) - count} clips, {hours:.2f} hours", flush=True)


def write_index(index: Path, rows: list[Row]) -> None:
    with atomic_path(index) as temporary, open(temporary, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def main(corpus_dir: str, work_dir: str) -> None:
    work = Path(work_dir)
    paths = sorted(Path(corpus_dir).glob("shard_*.tar"))
    if not paths:
        raise ValueError(f"{corpus_dir}: no shard_*.tar in this folder; it is not the corpus")
    for path in paths:
        if not re.fullmatch(r"shard_\d{3}\.tar", path.name):
            raise ValueError(f"{path}: later steps name their files by three digits: shard_NNN.tar")
    work.mkdir(parents=True, exist_ok=True)
    append_shards(work, {path.name: partial(read_shard, path) for path in paths})


if __name__ == "__main__":
    main(*sys.argv[1:])
