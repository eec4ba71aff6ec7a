"""The codes of chunks, by the frozen encoder; kept, since they never change."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from fireredtts2.codec import RedCodec
from fireredtts2.config import INPUT_RATE_HZ, INPUT_SAMPLES_PER_FRAME
from fireredtts2.training.codec.batches import CHUNK_FRAMES, CropPlace
from fireredtts2.training.codec.sounds import Sound, SoundReader


class CodeReader:
    """Codes of crops. What was encoded is kept: 1 to 3 kB for each chunk of 6 s."""

    def __init__(self, codec: RedCodec, reader: SoundReader) -> None:
        self.codec, self.reader = codec, reader
        self._kept: dict[tuple[str, int], np.ndarray] = {}

    def crops(self, places: Sequence[CropPlace], device: torch.device) -> Tensor:
        """Codes (B, Q, frames) int64 of crops of one length."""
        codes = np.stack([self._crop(place) for place in places])
        return torch.from_numpy(codes).to(device, torch.long)

    def _crop(self, place: CropPlace) -> np.ndarray:
        joined = np.concatenate([self._chunk(place.sound, n) for n in place.chunks], axis=1)
        begin = place.first - place.chunks[0] * CHUNK_FRAMES
        return joined[:, begin : begin + place.num_frames]

    def _chunk(self, sound: Sound, number: int) -> np.ndarray:
        key = (sound.id, number)
        if key not in self._kept:
            self._kept[key] = self._encoded(sound, number)
        return self._kept[key]

    def _encoded(self, sound: Sound, number: int) -> np.ndarray:
        first = number * CHUNK_FRAMES
        audio = self.reader.window(sound, first, CHUNK_FRAMES, INPUT_RATE_HZ)
        live = min(CHUNK_FRAMES, sound.num_frames - first) * INPUT_SAMPLES_PER_FRAME
        samples = torch.from_numpy(audio[:live])[None]
        # NOTE: one at a time: in a batch the codes could depend on what else is in it, by rounding,
        # and a resumed run would not be the uncut one.
        codes, _ = self.codec.encode(samples.to(self.codec.rvq.levels[0].codebook.device))
        return codes[0].to("cpu", torch.int16).numpy()
