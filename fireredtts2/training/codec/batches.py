"""What each batch holds: a function of its number alone, so that there is no position to lose."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fireredtts2.config import (
    ENCODE_CHUNK_S,
    FRAME_RATE_HZ,
    INPUT_RATE_HZ,
    OUTPUT_RATE_HZ,
)
from fireredtts2.training.codec.sounds import Sound, SoundReader
from fireredtts2.training.codes_data import PROMPT_FRAMES

CHUNK_FRAMES = round(ENCODE_CHUNK_S * FRAME_RATE_HZ)
#: As a number for draws, beyond those of any batch.
VALIDATION = 2**31


@dataclass(frozen=True)
class ChunkBatch:
    """Stage one: B chunks of 6 s, and one crop of each.

    Attributes:
        audio: (B, 96000) float32 at 16 kHz, silence after a sound's end.
        live: (B,) frames of each chunk that are not padding.
        start: (B,) first frame of each crop.
        target: (B, samples) float32, the crop's sound at the decoder's rate.
    """

    audio: Tensor
    live: Tensor
    start: Tensor
    target: Tensor


class ChunkBatches:
    """Shuffled chunks, all of them once an epoch."""

    def __init__(
        self,
        sounds: Sequence[Sound],
        reader: SoundReader,
        size: int,
        crop_frames: int,
        rate_hz: int,
        seed: int,
    ) -> None:
        self.reader, self.size, self.crop_frames = reader, size, crop_frames
        self.rate_hz, self.seed = rate_hz, seed
        self.items: list[tuple[Sound, int]] = [
            (sound, first) for sound in sounds for first in range(0, sound.num_frames, CHUNK_FRAMES)
        ]
        self._order = functools.lru_cache(maxsize=2)(self._shuffled)

    def _shuffled(self, epoch: int) -> np.ndarray:
        return np.random.default_rng([self.seed, epoch]).permutation(len(self.items))

    def __len__(self) -> int:
        """Batches in which every chunk comes at least once."""
        return -(-len(self.items) // self.size)

    def batch(self, number: int) -> ChunkBatch:
        """The batch of a number from 0 on, without end; epochs follow one another."""
        rng = np.random.default_rng([self.seed, number, 1])
        places = range(number * self.size, (number + 1) * self.size)
        chosen = [self._order(p // len(self.items))[p % len(self.items)] for p in places]
        return self._joined([self._row(self.items[i], rng) for i in chosen])

    def in_order(self, number: int) -> ChunkBatch:
        """Batch `number` below `len` without shuffling, the last one perhaps smaller."""
        rng = np.random.default_rng([self.seed, number, VALIDATION])
        items = self.items[number * self.size : (number + 1) * self.size]
        return self._joined([self._row(item, rng) for item in items])

    def _row(
        self, item: tuple[Sound, int], rng: np.random.Generator
    ) -> tuple[np.ndarray, int, int, np.ndarray]:
        sound, first = item
        live = min(CHUNK_FRAMES, sound.num_frames - first)
        start = int(rng.integers(max(1, live - self.crop_frames + 1)))
        audio = self.reader.window(sound, first, CHUNK_FRAMES, INPUT_RATE_HZ)
        # Sound beyond this chunk belongs to codes that the crop does not see.
        inside = min(self.crop_frames, CHUNK_FRAMES - start)
        target = self.reader.window(sound, first + start, inside, self.rate_hz)
        missing = round((self.crop_frames - inside) * self.rate_hz / FRAME_RATE_HZ)
        return audio, live, start, np.pad(target, (0, missing))

    @staticmethod
    def _joined(rows: list[tuple[np.ndarray, int, int, np.ndarray]]) -> ChunkBatch:
        audio, live, start, target = zip(*rows, strict=True)
        return ChunkBatch(
            audio=torch.from_numpy(np.stack(audio)),
            live=torch.tensor(live),
            start=torch.tensor(start),
            target=torch.from_numpy(np.stack(target)),
        )


@dataclass(frozen=True)
class CropPlace:
    """Frames `first` to `first + num_frames` of a sound."""

    sound: Sound
    first: int
    num_frames: int

    @property
    def chunks(self) -> range:
        """Numbers of the 6 s chunks that it lies in."""
        return range(
            self.first // CHUNK_FRAMES, (self.first + self.num_frames - 1) // CHUNK_FRAMES + 1
        )


class CropPlan:
    """Stage two: crops of one length in a batch, drawn from the sounds by how long they are.

    Args:
        sounds: to draw from.
        lengths: of crops, in frames.
        frames_per_batch: of all crops together; those of prompts count half, since no sound is made
            of them.
        seed: of what is drawn.
        prompt_share: of the batches with a prompt before each crop.
    """

    def __init__(
        self,
        sounds: Sequence[Sound],
        lengths: Sequence[int],
        frames_per_batch: int,
        seed: int,
        prompt_share: float = 0.0,
    ) -> None:
        self.frames_per_batch, self.seed = frames_per_batch, seed
        self.prompt_share = prompt_share
        self.of_speaker: dict[str, list[Sound]] = defaultdict(list)
        for sound in sounds:
            self.of_speaker[sound.speaker].append(sound)
        longest = max((sound.num_frames for sound in sounds), default=0)
        self.lengths = [frames for frames in lengths if frames <= longest]
        if sounds and not self.lengths:
            raise ValueError(
                f"data.crop_frames: {list(lengths)} given; the longest sound has {longest} frames"
            )
        self.by_length = {
            frames: [sound for sound in sounds if sound.num_frames >= frames]
            for frames in self.lengths
        }
        self.bounds = {
            frames: np.cumsum([sound.num_frames for sound in long_enough])
            for frames, long_enough in self.by_length.items()
        }

    def places(self, number: int) -> list[CropPlace]:
        """The crops of batch `number`, from 0 on, without end."""
        rng = np.random.default_rng([self.seed, number, 2])
        frames = self.lengths[int(rng.integers(len(self.lengths)))]
        count = max(1, self.frames_per_batch // (frames + self.prompt_frames(number) // 2))
        return [self._place(frames, rng) for _ in range(count)]

    def prompt_frames(self, number: int) -> int:
        """How long the prompts of batch `number` are; 0 where it has none."""
        # NOTE: drawn apart from the crops, which are then the same without prompts.
        rng = np.random.default_rng([self.seed, number, 3])
        return int(rng.choice(PROMPT_FRAMES)) if rng.random() < self.prompt_share else 0

    def prompts(self, number: int, crops: Sequence[CropPlace]) -> list[CropPlace]:
        """What is heard before the crops of batch `number`: other sounds of their speakers.

        Empty where the batch has none, or where one of the speakers has no sound so long.
        """
        frames = self.prompt_frames(number)
        if not frames:
            return []
        rng = np.random.default_rng([self.seed, number, 4])
        found = []
        for crop in crops:
            own = [s for s in self.of_speaker[crop.sound.speaker] if s.num_frames >= frames]
            others = [sound for sound in own if sound.id != crop.sound.id] or own
            if not others:
                return []
            sound = others[int(rng.integers(len(others)))]
            first = int(rng.integers(sound.num_frames - frames + 1))
            found.append(CropPlace(sound, first, frames))
        return found

    def _place(self, frames: int, rng: np.random.Generator) -> CropPlace:
        bounds = self.bounds[frames]
        index = int(np.searchsorted(bounds, rng.integers(bounds[-1]), side="right"))
        sound = self.by_length[frames][index]
        # Many crops begin where the sound does, as every streamed turn does; of a long recording,
        # whose beginning would be heard again and again, few.
        begins = rng.random() < min(0.5, frames / sound.num_frames)
        first = 0 if begins else int(rng.integers(sound.num_frames - frames + 1))
        return CropPlace(sound, first, frames)


def crop_audio(reader: SoundReader, places: Sequence[CropPlace]) -> Tensor:
    """The crops' sound at 24 kHz, (B, 1920 * frames) float32."""
    return torch.from_numpy(
        np.stack([reader.window(p.sound, p.first, p.num_frames, OUTPUT_RATE_HZ) for p in places])
    )
