"""Batches for the codec: 6 s chunks, or crops of them, with their kept features and their sound."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fireredtts2.config import ENCODE_CHUNK_S, OUTPUT_RATE_HZ, OUTPUT_SAMPLES_PER_FRAME
from fireredtts2.training.corpus import is_held_out, open_samples, read_index, sound

MEL_STEPS = 8  # in one frame: 100 Hz
SEMANTIC_STEPS = 4  # in one frame: 50 Hz
CHUNK_SAMPLES_OUT = ENCODE_CHUNK_S * OUTPUT_RATE_HZ
CHUNK_SEMANTIC_STEPS = ENCODE_CHUNK_S * OUTPUT_RATE_HZ * SEMANTIC_STEPS // OUTPUT_SAMPLES_PER_FRAME
UNKNOWN_SOUND = -100  # no loss asks for it: cross-entropy's `ignore_index`


@dataclass
class CodecBatch:
    """B chunks of T frames, and one crop of each.

    Attributes:
        mel: (B, num_mels, 8 * T) float32.
        semantic: (B, 4 * T, D) float32.
        live: (B,) frames of each chunk that are not padding.
        start: (B,) first frame of each crop.
        audio: (B, crop_frames * 1920) float32, the crop's sound at 24 kHz.
        sounds: (B, 4 * crop_frames) int64, the class of each 20 ms of the crop, or UNKNOWN_SOUND.
    """

    mel: Tensor
    semantic: Tensor
    live: Tensor
    start: Tensor
    audio: Tensor
    sounds: Tensor


class CodecData:
    """Chunks of every features file found; `held_out` chooses the other side of the split."""

    def __init__(
        self,
        work: Path,
        crop_frames: int,
        held_out: bool = False,
        ends_share: float = 0.0,
        sounds: Mapping[int, np.ndarray] | None = None,
    ) -> None:
        """Reads every features file.

        Args:
            work: the prepared folder.
            crop_frames: of a crop.
            held_out: the clips that are never learnt from, in place of the others.
            ends_share: of the crops, that begin or end with their chunk; the others lie anywhere.
            sounds: by clip, the class (steps,) of each of its 20 ms.
        """
        self.whole = True  # or only the crops go through the encoders: less work, less context
        self.ends_share, self.sounds = ends_share, sounds or {}
        self.clips = read_index(work)
        self.samples = open_samples(work)
        self.crop_frames = crop_frames
        self.shards = [np.load(path) for path in sorted(work.glob("features_[0-9][0-9][0-9].npz"))]
        self.semantic = [shard["semantic"] for shard in self.shards]
        self.mel = [shard["mel"] for shard in self.shards]
        self.items = [
            (place, row, int(clip), int(chunk))
            for place, shard in enumerate(self.shards)
            for row, (clip, chunk) in enumerate(zip(shard["clip"], shard["chunk"], strict=True))
            if is_held_out(int(clip)) == held_out
        ]

    def live_samples(self, clip: int, chunk: int) -> int:
        return min(CHUNK_SAMPLES_OUT, self.clips[clip]["samples"] - chunk * CHUNK_SAMPLES_OUT)

    def batches(self, size: int, seed: int) -> Iterator[CodecBatch]:
        """Endless shuffled batches; the same seed gives the same ones.

        Raises:
            ValueError: fewer chunks than in a batch.
        """
        if len(self.items) < size:
            raise ValueError(f"batches of {size} chunks need as many; there are {len(self.items)}")
        rng = np.random.default_rng(seed)
        while True:
            order = rng.permutation(len(self.items))
            for first in range(0, len(order) - size + 1, size):
                yield self.batch([self.items[i] for i in order[first : first + size]], rng)

    def batch(self, items: list[tuple], rng: np.random.Generator) -> CodecBatch:
        rows = [self._row(item, rng) for item in items]
        mel, semantic, live, start, audio, sounds = zip(*rows, strict=True)
        return CodecBatch(
            mel=torch.from_numpy(np.stack(mel)).float(),
            semantic=torch.from_numpy(np.stack(semantic)).float(),
            live=torch.tensor(live),
            start=torch.tensor(start),
            audio=torch.from_numpy(np.stack(audio)),
            sounds=torch.from_numpy(np.stack(sounds)),
        )

    def _row(self, item: tuple[int, int, int, int], rng: np.random.Generator) -> tuple:
        place, row, clip, chunk = item
        live = -(-self.live_samples(clip, chunk) // OUTPUT_SAMPLES_PER_FRAME)
        first = self._first_frame(max(0, live - self.crop_frames), rng)
        mel, semantic = self.mel[place][row], self.semantic[place][row]
        audio, sounds = self._crop(clip, chunk, first), self._sounds(clip, chunk, first)
        if self.whole:
            return mel, semantic, live, first, audio, sounds
        end = first + self.crop_frames
        mel, semantic = (
            mel[:, MEL_STEPS * first : MEL_STEPS * end],
            semantic[SEMANTIC_STEPS * first : SEMANTIC_STEPS * end],
        )
        return mel, semantic, min(live - first, self.crop_frames), 0, audio, sounds

    def _first_frame(self, room: int, rng: np.random.Generator) -> int:
        """Where a crop begins, which can do so in frames 0 to `room`."""
        place = rng.random() if self.ends_share else 1.0
        if place < self.ends_share:
            return 0 if place < self.ends_share / 2 else room
        return int(rng.integers(0, room + 1))

    def _sounds(self, clip: int, chunk: int, first: int) -> np.ndarray:
        steps = np.full(SEMANTIC_STEPS * self.crop_frames, UNKNOWN_SOUND, np.int64)
        begin = chunk * CHUNK_SEMANTIC_STEPS + SEMANTIC_STEPS * first
        end = min(begin + len(steps), (chunk + 1) * CHUNK_SEMANTIC_STEPS)
        known = self.sounds.get(clip, steps[:0])[begin:end]
        steps[: len(known)] = known
        return steps

    def _crop(self, clip: int, chunk: int, first: int) -> np.ndarray:
        begin = chunk * CHUNK_SAMPLES_OUT + first * OUTPUT_SAMPLES_PER_FRAME
        size = self.crop_frames * OUTPUT_SAMPLES_PER_FRAME
        row = self.clips[clip]
        # Sound beyond this chunk belongs to codes that the crop does not see.
        end = min(begin + size, row["samples"], (chunk + 1) * CHUNK_SAMPLES_OUT)
        return sound(self.samples, row["offset"] + begin, row["offset"] + end, size)
