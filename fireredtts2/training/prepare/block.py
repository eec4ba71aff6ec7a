"""Blocks of recordings: the unit of work, of which each is done whole, kept in a file of its own.

What is in a block, and what is encoded together, follows from the recordings alone. So the result
is the same whatever was done before a cut, and by however many processes.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor

from fireredtts2.atomic_file import atomic_path
from fireredtts2.codec.codec import CHUNK_SAMPLES, CHUNKS_AT_ONCE, RedCodec
from fireredtts2.training.prepare.judge import Judge, Verdict
from fireredtts2.training.prepare.recordings import Recording
from fireredtts2.weights import write_state

BLOCK_TURNS = 64


@dataclass(frozen=True)
class Judged:
    """A recording's verdicts, with codes (Q, frames) int16 of the turns that passed."""

    verdicts: tuple[Verdict, ...]
    codes: tuple[Tensor | None, ...]


def plan_blocks(recordings: Sequence[Recording]) -> list[range]:
    """Cuts a list of recordings into blocks of some 64 turns; a conversation stays whole."""
    blocks, first, turns = [], 0, 0
    for number, recording in enumerate(recordings):
        if turns and turns + len(recording.turns) > BLOCK_TURNS:
            blocks.append(range(first, number))
            first, turns = number, 0
        turns += len(recording.turns)
    return [*blocks, range(first, len(recordings))] if turns else blocks


def block_path(folder: Path, number: int) -> Path:
    """Where a block is kept."""
    return folder / f"block-{number:06d}.safetensors"


def has_blocks(folder: Path) -> bool:
    """Whether there is any block."""
    return any(folder.glob("block-*.safetensors"))


def make_block(recordings: Sequence[Recording], judge: Judge, codec: RedCodec, path: Path) -> None:
    """Judges and encodes the recordings of a block, and writes them whole or not at all."""
    heard = [judge.recording(recording) for recording in recordings]
    passed = [one.audio for each in heard for one in each if one.audio is not None]
    codes = encode(passed, codec)
    rows = [[dataclasses.asdict(one.verdict) for one in each] for each in heard]
    lengths = [code.shape[1] for code in codes]
    empty = torch.zeros(codec.num_codebooks, 0, dtype=torch.int16)
    tensors = {
        "codes": torch.cat([empty, *codes], dim=1),
        "offsets": torch.tensor([0, *accumulate(lengths)]),
    }
    with atomic_path(path) as temporary:
        write_state(temporary, tensors, {"rows": json.dumps(rows, ensure_ascii=False)})


def read_block(path: Path) -> list[Judged]:
    """The recordings of a block, as they were judged."""
    with safe_open(path, framework="pt") as file:
        rows = json.loads(file.metadata()["rows"])
        codes, offsets = file.get_tensor("codes"), file.get_tensor("offsets").tolist()
    passed = iter([codes[:, begin:end] for begin, end in pairwise(offsets)])
    judged = []
    for row in rows:
        verdicts = tuple(Verdict(**values) for values in row)
        own = tuple(None if one.reason else next(passed) for one in verdicts)
        judged.append(Judged(verdicts, own))
    return judged


def encode(clips: Sequence[np.ndarray], codec: RedCodec) -> list[Tensor]:
    """Encodes clips (samples,) float32 at 16 kHz, those of as many 6 s chunks together.

    Returns:
        Codes (Q, frames) int16 of each, on the CPU.
    """
    device = next(codec.parameters()).device
    found: dict[int, Tensor] = {}
    by_chunks: dict[int, list[int]] = {}
    for number, clip in enumerate(clips):
        by_chunks.setdefault(-(-clip.size // CHUNK_SAMPLES), []).append(number)
    for num_chunks, numbers in sorted(by_chunks.items()):
        at_once = max(1, CHUNKS_AT_ONCE // num_chunks)
        for begin in range(0, len(numbers), at_once):
            group = numbers[begin : begin + at_once]
            lengths = torch.tensor([clips[number].size for number in group])
            audio = torch.zeros(len(group), int(lengths.max()))
            for row, number in zip(audio, group, strict=True):
                row[: clips[number].size] = torch.from_numpy(clips[number])
            codes, frames = codec.encode(audio.to(device), lengths.to(device))
            for number, code, count in zip(group, codes, frames.tolist(), strict=True):
                found[number] = code[:, :count].to("cpu", torch.int16)
    return [found[number] for number in range(len(clips))]
