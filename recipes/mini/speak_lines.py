"""Step 0, more speech: a teacher speaks lines of conversation, as further shards of the corpus.

    python -m recipes.mini.speak_lines CORPUS_DIR TEACHER [LINES] [PART/PARTS]

TEACHER is a `module:function` that gives speech, float32 (samples,) at 24 kHz, for a text, a style
and a speed as the corpus's metadata names them. Each of LINES (`conversations.txt`) is spoken by
the voice of a clip that is drawn from the corpus, which must hold shards already. Several processes
share the work: `0/2` and `1/2`. A shard is written whole or not at all; a second run goes on after
the last one.
"""

from __future__ import annotations

import importlib
import io
import json
import random
import re
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

from fireredtts2.atomic_file import atomic_path
from fireredtts2.config import OUTPUT_RATE_HZ
from fireredtts2.training.corpus import Row, read_metadata
from fireredtts2.training.prepare.levels import even_gain

Teacher = Callable[[str, str, float], np.ndarray]

LINES = Path(__file__).parent / "conversations.txt"
FIRST_SHARD = 100  # above every shard of the corpus's own
CLIPS_PER_SHARD = 200
LEVEL_DBFS = -21.0  # as the corpus's own clips
KIND = "conversation"  # of the clips that this step plans
SPEAKER_PREFIX = "voice"  # of the speakers that `speak_voices` plans
VOICE_KEYS = ("speaker", "style", "speed")


def read_lines(path: Path) -> list[str]:
    """The turns of all conversations; empty lines stand between these."""
    lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    return [line for line in lines if line]


def corpus_rows(corpus: Path) -> list[Row]:
    """The metadata of every clip of the corpus's own shards.

    Raises:
        ValueError: there are none, or one has a number that is kept for spoken shards.
    """
    rows: list[Row] = []
    for path in sorted(corpus.glob("shard_*.tar")):
        with tarfile.open(path) as tar:
            found = read_metadata(tar)
        if _number(path) < FIRST_SHARD:
            rows += found
        elif not all(map(is_spoken, found)):
            raise ValueError(
                f"{path}: numbers from {FIRST_SHARD} on are those of shards that a teacher spoke; "
                "give this one a lower number"
            )
    if not rows:
        raise ValueError(f"{corpus}: no shard_NNN.tar to draw voices from")
    return rows


def is_spoken(row: Row) -> bool:
    """Whether this step, or `speak_voices`, planned a clip."""
    return row["kind"] == KIND or row["speaker"].startswith(SPEAKER_PREFIX)


def planned_rows(lines: list[str], voices: list[Row]) -> list[Row]:
    """What each clip says, and in whose voice; the same arguments give the same plan."""
    rng = random.Random(0)
    order = rng.sample(lines, len(lines))
    rows = []
    for place, text in enumerate(order):
        voice = rng.choice(voices)
        id = clip_id(place, FIRST_SHARD, CLIPS_PER_SHARD)
        row = {"id": id, "kind": KIND, "text": text}
        rows.append(row | {key: voice[key] for key in VOICE_KEYS})
    return rows


def spoken(row: Row, teacher: Teacher) -> np.ndarray:
    """A row's speech (samples,) float32 at 24 kHz, at the corpus's level."""
    audio = np.asarray(teacher(row["text"], row["style"], row["speed"]), np.float32)
    return audio * even_gain(audio, OUTPUT_RATE_HZ, LEVEL_DBFS)


def clip_id(place: int, first_shard: int, clips_per_shard: int) -> int:
    """The id of a plan's clip number `place`: a shard of the corpus holds at most a thousand."""
    shard, within = divmod(place, clips_per_shard)
    return 1000 * (first_shard + shard) + within


def speak_part(
    corpus: Path, rows: list[Row], teacher: str, part: str, first_shard: int, clips_per_shard: int
) -> None:
    """Speaks one part of a plan, shard by shard, but for shards that are there already."""
    speak = load_teacher(teacher)
    index, parts = parsed_part(part)
    for first in range(clips_per_shard * index, len(rows), clips_per_shard * parts):
        path = corpus / f"shard_{first_shard + first // clips_per_shard}.tar"
        if not path.exists():
            write_shard(path, rows[first : first + clips_per_shard], speak)
            print(path.name, flush=True)


def write_shard(path: Path, rows: list[Row], teacher: Teacher) -> None:
    """Speaks the rows and writes them with their lengths."""
    with atomic_path(path) as temporary, tarfile.open(temporary, "w") as tar:
        told = []
        for row in rows:
            audio, data = spoken(row, teacher), io.BytesIO()
            soundfile.write(data, audio, OUTPUT_RATE_HZ, format="OGG", subtype="OPUS")
            add_file(tar, f"{row['id']:05d}.opus", data.getvalue())
            told.append(json.dumps(row | {"seconds": round(len(audio) / OUTPUT_RATE_HZ, 3)}))
        add_file(tar, "metadata.jsonl", "\n".join(told).encode())


def add_file(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    """Appends a file of these bytes."""
    info = tarfile.TarInfo(name)
    info.size = len(data)
    tar.addfile(info, io.BytesIO(data))


def _number(shard: Path) -> int:
    return int(shard.stem[-3:])


def load_teacher(name: str) -> Teacher:
    """The function that `module:function` names.

    Raises:
        ValueError: it has another form, or there is no such function.
    """
    module, _, function = name.partition(":")
    if not (module and function):
        raise ValueError(f"teacher {name!r}; allowed: module:function")
    try:
        return getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"teacher {name!r}: {error}") from error


def parsed_part(part: str) -> tuple[int, int]:
    """Which of how many shares of the work, from "PART/PARTS".

    Raises:
        ValueError: it has another form, or there is no such part.
    """
    found = re.fullmatch(r"(\d+)/(\d+)", part)
    index, parts = map(int, found.groups()) if found else (0, 0)
    if index >= parts:
        raise ValueError(f"part {part!r}; allowed: PART/PARTS from 0/1, PART below PARTS")
    return index, parts


def main(corpus_dir: str, teacher: str, lines: str = str(LINES), part: str = "0/1") -> None:
    corpus = Path(corpus_dir)
    rows = planned_rows(read_lines(Path(lines)), corpus_rows(corpus))
    speak_part(corpus, rows, teacher, part, FIRST_SHARD, CLIPS_PER_SHARD)


if __name__ == "__main__":
    main(*sys.argv[1:])
