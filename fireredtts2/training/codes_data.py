"""What stage two of the codec learns from: crops of clips, as codes and as sound."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from fireredtts2.config import OUTPUT_SAMPLES_PER_FRAME
from fireredtts2.training.corpus import is_held_out, open_samples, read_codes, read_index, sound

# Crops of several lengths: the decoder attends to all it has heard of a turn, so it must know long
# turns as well as short ones.
CROP_FRAMES = (12, 20, 40, 75, 120)
#: Of a prompt: what is heard of the speaker before a crop, 1 to 4 s.
PROMPT_FRAMES = (12, 25, 50)

Item = tuple[int, np.ndarray]  # a clip's id and its codes (Q, frames)


class CodesData:
    """Clips with their codes and their sound."""

    def __init__(self, work: Path, held_out: bool = False, below: int = 2**62) -> None:
        """Those that are held out or those that are not, with ids below a bound."""
        self.rows = read_index(work)
        self.samples = open_samples(work)
        self.items = [
            item
            for item in read_codes(work)
            if is_held_out(item[0]) == held_out and item[0] < below
        ]
        self._of_speaker: dict[str, list[Item]] = defaultdict(list)
        for item in self.items:
            self._of_speaker[self.rows[item[0]]["speaker"]].append(item)

    def batches(
        self, frames_per_step: int, seed: int, prompt_share: float = 0.0
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Endless (codes (B, Q, p + t), audio (B, 1920 * t)).

        Args:
            frames_per_step: about how many frames B * t are; those of prompts count half, since no
                sound is made of them.
            seed: of what is drawn.
            prompt_share: of the batches in which p is not 0: there the codes begin with p frames of
                another clip of the speaker, of which the audio says nothing.

        Raises:
            ValueError: no clip is as long as the shortest crop.
        """
        rng = np.random.default_rng(seed)
        longest = max((codes.shape[1] for _, codes in self.items), default=0)
        lengths = [frames for frames in CROP_FRAMES if frames <= longest]
        if not lengths:
            raise ValueError(
                f"no clip to learn from: the longest of {len(self.items)} has {longest} frames, "
                f"crops have {min(CROP_FRAMES)} or more"
            )
        while True:
            frames = int(rng.choice(lengths))
            # NOTE: without prompts nothing is drawn for them, so that a run of before stays itself.
            has_prompt = prompt_share > 0 and rng.random() < prompt_share
            prompt = int(rng.choice(PROMPT_FRAMES)) if has_prompt else 0
            long_enough = [item for item in self.items if item[1].shape[1] >= frames]
            count = max(1, frames_per_step // (frames + prompt // 2))
            chosen = [long_enough[i] for i in rng.choice(len(long_enough), count)]
            crops = [self._crop(item, frames, rng) for item in chosen]
            codes = np.stack([codes for codes, _ in crops])
            prompts = np.stack([self._prompt(item[0], prompt, rng) for item in chosen])
            yield (
                torch.from_numpy(np.concatenate([prompts, codes], 2)).long(),
                torch.from_numpy(np.stack([audio for _, audio in crops])),
            )

    def _crop(
        self, item: Item, frames: int, rng: np.random.Generator
    ) -> tuple[np.ndarray, np.ndarray]:
        clip, codes = item
        # Half of the crops begin where the clip does, as every streamed turn does.
        first = 0 if rng.random() < 0.5 else int(rng.integers(codes.shape[1] - frames + 1))
        row = self.rows[clip]
        begin = first * OUTPUT_SAMPLES_PER_FRAME
        size = frames * OUTPUT_SAMPLES_PER_FRAME
        end = min(begin + size, row["samples"])
        audio = sound(self.samples, row["offset"] + begin, row["offset"] + end, size)
        return codes[:, first : first + frames], audio

    def _prompt(self, clip: int, frames: int, rng: np.random.Generator) -> np.ndarray:
        """(Q, frames) out of another clip of the same speaker; of a short one, again and again."""
        own = self._of_speaker[self.rows[clip]["speaker"]]
        others = [item for item in own if item[0] != clip] or own
        if not frames:
            return own[0][1][:, :0]
        codes = others[int(rng.integers(len(others)))][1]
        codes = np.tile(codes, -(-frames // codes.shape[1]))
        first = int(rng.integers(codes.shape[1] - frames + 1))
        return codes[:, first : first + frames]
