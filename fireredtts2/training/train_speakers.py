"""Trains the network that tells a corpus's speakers apart (`speaker_net.py`)."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from fireredtts2.config import OUTPUT_RATE_HZ
from fireredtts2.training.bad_steps import MAX_BAD_STEPS, BadSteps, step_if_finite
from fireredtts2.training.corpus import is_held_out, open_samples, read_index, sound
from fireredtts2.training.precision import CPU, computing_quickly
from fireredtts2.training.run import run
from fireredtts2.training.schedule import trapezoid
from fireredtts2.training.speaker_net import SpeakerNet

CROP_SECONDS = (1.0, 2.2)
EVEN_SHARE = 0.5  # of the crops, drawn from all speakers alike; the others from all clips
LEVEL_RANGE_DB = 6.0
SCALE = 24.0  # of the cosines, as logits
MAX_NORM = 5.0


@dataclass(frozen=True)
class SpeakerTrainConfig:
    """One run."""

    width: int = 256  # of the network
    seconds_per_step: float = 48.0
    learning_rate: float = 1.5e-3
    warmup_steps: int = 50
    total_steps: int = 1400
    cooldown_share: float = 0.6
    margin: float = 0.2  # in radians; it grows to this over the first `margin_steps`
    margin_steps: int = 500
    max_seconds: float = float("inf")
    save_every: int = 100
    seed: int = 0


class SpeakerData:
    """Clips by speaker, those that are not held out.

    Raises:
        ValueError: no clip is as long as the shortest crop.
    """

    def __init__(self, work: Path) -> None:
        shortest = int(CROP_SECONDS[0] * OUTPUT_RATE_HZ)
        self.samples = open_samples(work)
        rows = read_index(work).values()
        self.rows = [r for r in rows if r["samples"] >= shortest and not is_held_out(r["id"])]
        if not self.rows:
            raise ValueError(f"{work}: no clip to learn from is as long as {CROP_SECONDS[0]:g} s")
        self.speakers = sorted({row["speaker"] for row in self.rows})
        self.number = {speaker: number for number, speaker in enumerate(self.speakers)}
        self.by_speaker = defaultdict(list)
        for row in self.rows:
            self.by_speaker[row["speaker"]].append(row)

    def batches(self, seconds_per_step: float, seed: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Endless (audio (B, samples), speakers (B,)), of one length each."""
        rng = np.random.default_rng(seed)
        longest = max(row["samples"] for row in self.rows)
        while True:
            size = min(int(rng.uniform(*CROP_SECONDS) * OUTPUT_RATE_HZ), longest)
            count = max(2, int(seconds_per_step * OUTPUT_RATE_HZ / size))
            drawn = [self._drawn(size, rng) for _ in range(count)]
            audio = np.stack([self._crop(row, size, rng) for row in drawn])
            numbers = [self.number[row["speaker"]] for row in drawn]
            yield torch.from_numpy(audio), torch.tensor(numbers)

    def _drawn(self, size: int, rng: np.random.Generator) -> dict[str, Any]:
        while True:
            rows = self.rows
            if rng.random() < EVEN_SHARE:
                rows = self.by_speaker[self.speakers[int(rng.integers(len(self.speakers)))]]
            row = rows[int(rng.integers(len(rows)))]
            if row["samples"] >= size:
                return row

    def _crop(self, row: dict[str, Any], size: int, rng: np.random.Generator) -> np.ndarray:
        begin = row["offset"] + int(rng.integers(row["samples"] - size + 1))
        level = 10 ** (rng.uniform(-LEVEL_RANGE_DB, LEVEL_RANGE_DB) / 20)
        return sound(self.samples, begin, begin + size, size) * np.float32(level)


class SpeakerTrainer:
    """The network, its optimizer and where it stands."""

    def __init__(self, net: SpeakerNet, config: SpeakerTrainConfig) -> None:
        self.net, self.config = net, config
        self.parameters = list(net.parameters())
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=config.learning_rate, weight_decay=0.02
        )
        self.bad_steps = BadSteps(MAX_BAD_STEPS, "clips")
        self.step_count = 0

    def step(self, audio: Tensor, speakers: Tensor) -> dict[str, float]:
        """One update, left out where a gradient is not finite; audio (B, samples), speakers (B,).

        Raises:
            TrainingDivergedError: that happened `MAX_BAD_STEPS` times in a row.
        """
        config = self.config
        share = trapezoid(
            self.step_count, config.warmup_steps, config.total_steps, config.cooldown_share
        )
        for group in self.optimizer.param_groups:
            group["lr"] = config.learning_rate * share
        with computing_quickly(CPU):
            _, embeddings = self.net(audio)
        cosines = self.net.similarities(embeddings)
        margin = config.margin * min(1.0, self.step_count / config.margin_steps)
        loss = margin_loss(cosines, speakers, margin)
        is_good = step_if_finite(loss, self.optimizer, self.parameters, MAX_NORM)
        self.step_count += 1
        self.bad_steps.count(self.step_count, is_good)
        right = (cosines.argmax(1) == speakers).float().mean()
        return {"loss": loss.item(), "right": right.item()}

    def state(self) -> dict[str, Any]:
        return {
            "net": self.net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step_count,
        }

    def load(self, state: dict[str, Any]) -> None:
        self.net.load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step_count = state["step"]


def margin_loss(cosines: Tensor, speakers: Tensor, margin: float) -> Tensor:
    """Cross-entropy of cosines (B, N) with an angle added to the right ones (Deng et al. 2019)."""
    angles = torch.acos(cosines.clamp(-1 + 1e-5, 1 - 1e-5))
    is_right = F.one_hot(speakers, cosines.shape[1]).bool()
    logits = torch.where(is_right, torch.cos(angles + margin), cosines)
    return F.cross_entropy(SCALE * logits, speakers)


def train(trainer: SpeakerTrainer, data: SpeakerData, out: Path) -> None:
    """Runs to `total_steps` or `max_seconds`, saving to `out` on the way."""
    config = trainer.config
    batches = data.batches(config.seconds_per_step, config.seed + trainer.step_count)
    run(trainer, lambda: trainer.step(*next(batches)), config, out)
