"""Step 1: unpack the corpus shards into one flat file of 24 kHz samples and an index.

    python recipes/mini/decode_corpus.py CORPUS_DIR WORK_DIR

Writes `audio_24k.i16` (int16 samples of all clips, one after the other) and `index.jsonl` (a clip's
metadata with its offset and length in samples). A second run goes on after the last whole shard.
"""

from __future__ import annotations

import io
import json
import sys
import tarfile
from pathlib import Path

import numpy as np
import soundfile
import soxr

SAMPLE_RATE_HZ = 24_000


def decode_clip(data: bytes) -> np.ndarray:
    """Decodes one Opus file to (samples,) int16 at 24 kHz."""
    audio, rate_hz = soundfile.read(io.BytesIO(data), dtype="float32")
    audio = soxr.resample(audio, rate_hz, SAMPLE_RATE_HZ)
    return (np.clip(audio, -1, 1) * 32767).astype(np.int16)


def read_shard(path: Path) -> list[tuple[dict, np.ndarray]]:
    """Reads (metadata, samples) of every clip of a shard, in the order of its metadata."""
    with tarfile.open(path) as tar:
        files = {m.name: tar.extractfile(m).read() for m in tar.getmembers() if m.isfile()}
    rows = [json.loads(line) for line in files["metadata.jsonl"].decode().splitlines()]
    return [(row, decode_clip(files[f"{row['id']:05d}.opus"])) for row in rows]


def done_shards(index: Path) -> tuple[set[str], int]:
    """The shards already in the index, and how many samples they hold."""
    if not index.exists():
        return set(), 0
    rows = [json.loads(line) for line in index.read_text().splitlines()]
    return {row["shard"] for row in rows}, sum(row["samples"] for row in rows)


def main(corpus_dir: str, work_dir: str) -> None:
    work = Path(work_dir)
    work.mkdir(parents=True, exist_ok=True)
    index = work / "index.jsonl"
    done, offset = done_shards(index)
    with open(work / "audio_24k.i16", "r+b" if done else "wb") as samples_file:
        samples_file.truncate(offset * 2)
        samples_file.seek(offset * 2)
        for shard in sorted(Path(corpus_dir).glob("shard_*.tar")):
            if shard.name in done:
                continue
            lines = []
            for row, audio in read_shard(shard):
                samples_file.write(audio.tobytes())
                row |= {"shard": shard.name, "offset": offset, "samples": len(audio)}
                lines.append(json.dumps(row))
                offset += len(audio)
            samples_file.flush()
            with open(index, "a") as index_file:
                index_file.write("\n".join(lines) + "\n")
            print(f"{shard.name}: {len(lines)} clips, {offset / SAMPLE_RATE_HZ / 3600:.2f} hours")


if __name__ == "__main__":
    main(*sys.argv[1:])
