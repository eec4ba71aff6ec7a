"""Trains the codec's second stage: encoder frozen, the causal 24 kHz decoder trained on.

The codes come from disk, so the encoder costs nothing. Discriminators join late, since they cost
most (paper, section 2.1: perceptual loss in the last steps).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from fireredtts2.codec import RedCodec
from fireredtts2.config import OUTPUT_SAMPLES_PER_FRAME
from fireredtts2.training.averages import average_decay, follow
from fireredtts2.training.bad_steps import MAX_BAD_STEPS, BadSteps, step_if_finite
from fireredtts2.training.codec.adversarial import Remade, remade, windows
from fireredtts2.training.codec.decoder_losses import DecoderLosses
from fireredtts2.training.codec.decoding_parts import freeze
from fireredtts2.training.codes_data import CROP_FRAMES, CodesData
from fireredtts2.training.discriminators import Discriminators
from fireredtts2.training.precision import CPU, computing_quickly, resolve_precision
from fireredtts2.training.run import run
from fireredtts2.training.schedule import trapezoid
from fireredtts2.training.speaker_net import VoiceLoss

MAX_NORM = 10.0
AVERAGE_DECAY = 0.99


@dataclass(frozen=True)
class DecoderTrainConfig:
    """One run of stage two."""

    frames_per_step: int = 120
    codebooks: tuple[int, ...] = (8,)  # how many the decoder gets, one of these in each step
    adversarial_frames: int = 10  # in a window that the discriminators see
    adversarial_windows: int = 4
    learning_rate: float = 6e-4
    discriminator_rate: float = 4e-4
    warmup_steps: int = 30
    total_steps: int = 2000
    adversarial_from_step: int = 500
    mel_weight: float = 15.0
    excitation_weight: float = 5.0  # where the decoder has a harmonic source
    linear_weight: float = 10.0
    loud_weight: float = 0.0  # of magnitudes, in which loud bands weigh most
    content_weight: float = 0.0  # of what Whisper hears; see `ContentLoss`
    voice_weight: float = 0.0  # of what tells speakers apart; see `VoiceLoss`
    prompt_share: float = 0.0  # of the steps: in these the speaker is heard before, see `CodesData`
    takes: int = 1  # 2 where the decoder has a noise source: see `spectral_losses.energy_distance`
    # NOTE: both are of means over all discriminators and layers, where others take sums.
    adversarial_weight: float = 4.0
    matching_weight: float = 20.0
    max_seconds: float = float("inf")
    save_every: int = 50
    seed: int = 0


class StageTwo:
    """Decoder and discriminators, their optimizers and where they stand."""

    def __init__(
        self, codec: RedCodec, config: DecoderTrainConfig, voice: VoiceLoss | None = None
    ) -> None:
        check(codec, config)
        if config.voice_weight and voice is None:
            raise ValueError(
                f"voice_weight: {config.voice_weight:g} given, and no network that tells speakers "
                "apart; allowed without one: 0"
            )
        self.codec, self.config, self.voice = codec, config, voice
        self.discriminators = Discriminators()
        self.loss = DecoderLosses(freeze(codec))
        self.average = copy.deepcopy(codec).eval().requires_grad_(False)
        self.parameters = [p for p in codec.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=config.learning_rate, betas=(0.8, 0.99), weight_decay=0.01
        )
        self.judge_optimizer = torch.optim.AdamW(
            self.discriminators.parameters(), lr=config.discriminator_rate, betas=(0.8, 0.99)
        )
        self.bad_steps = BadSteps(MAX_BAD_STEPS, "clips")
        self.step_count = 0
        self.generator = torch.Generator().manual_seed(config.seed)

    @property
    def adversarial(self) -> bool:
        return self.step_count >= self.config.adversarial_from_step

    def made(self, codes: Tensor, audio: Tensor, takes: int) -> Remade:
        """Codes (B, Q, p + t) decoded, with gradients, beside what they mean; see `remade`."""
        precision = None if self.adversarial else resolve_precision("auto", CPU)
        return remade(self.codec, codes, audio, precision, takes, self.generator)

    def step(self, codes: Tensor, audio: Tensor) -> dict[str, float]:
        """One update, left out where a gradient is not finite.

        Raises:
            TrainingDivergedError: that happened `MAX_BAD_STEPS` times in a row.
        """
        config = self.config
        factor = trapezoid(self.step_count, config.warmup_steps, config.total_steps)
        for group in self.optimizer.param_groups:
            group["lr"] = config.learning_rate * factor
        made = self.made(codes[:, : self._drawn_codebooks()], audio, config.takes)
        losses = self.loss(made, audio, config)
        if self.voice is not None and config.voice_weight:
            losses["voice"] = config.voice_weight * self.voice(made.audio[: len(audio)], audio)
        if self.adversarial:
            losses |= self._adversarial_losses(made.audio[: len(audio)], audio)
        total = torch.stack(list(losses.values())).sum()
        is_good = step_if_finite(total, self.optimizer, self.parameters, MAX_NORM)
        if is_good:
            self._average()
        self.step_count += 1
        self.bad_steps.count(self.step_count, is_good)
        return {name: value.item() for name, value in losses.items()}

    def _average(self) -> None:
        decay = average_decay(AVERAGE_DECAY, self.step_count)
        fresh = {name: p for name, p in self.codec.named_parameters() if p.requires_grad}
        kept = {name: p for name, p in self.average.named_parameters() if name in fresh}
        follow(kept, fresh, decay)

    def _drawn_codebooks(self) -> int:
        choices = self.config.codebooks
        return choices[int(torch.randint(len(choices), (), generator=self.generator))]

    def _adversarial_losses(self, made: Tensor, audio: Tensor) -> dict[str, Tensor]:
        made, audio = self._windows(made, audio)
        judged = self._train_discriminators(made, audio)
        self.discriminators.requires_grad_(False)
        with computing_quickly(CPU):
            adversarial, matching = self.discriminators.generator_losses(made, audio)
        self.discriminators.requires_grad_(True)
        return {
            "adversarial": self.config.adversarial_weight * adversarial,
            "matching": self.config.matching_weight * matching,
            "judged": judged,
        }

    def _train_discriminators(self, made: Tensor, audio: Tensor) -> Tensor:
        """One step of theirs over windows (B, samples) twice; returns their loss."""
        # NOTE: the generator runs in float32 here, or it would be judged by what bfloat16 rounds
        # off; the discriminators judge alike in bfloat16, in half the time.
        with computing_quickly(CPU):
            judged = self.discriminators.loss(made, audio)
        members = list(self.discriminators.parameters())
        step_if_finite(judged, self.judge_optimizer, members, MAX_NORM)
        return judged.detach()

    def _windows(self, made: Tensor, audio: Tensor) -> tuple[Tensor, Tensor]:
        """Windows of (B, samples) twice, drawn at the same places: (windows, samples) twice."""
        size = self.config.adversarial_frames * OUTPUT_SAMPLES_PER_FRAME
        return windows(made, audio, size, self.config.adversarial_windows, self.generator)

    def state(self) -> dict:
        return {
            "generator": self.codec.state_dict(),
            "average": self.average.state_dict(),
            "discriminators": self.discriminators.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "judge_optimizer": self.judge_optimizer.state_dict(),
            "step": self.step_count,
            "random": self.generator.get_state(),
        }

    def load(self, state: dict) -> None:
        self.codec.load_state_dict(state["generator"])
        self.average.load_state_dict(state["average"])
        self.discriminators.load_state_dict(state["discriminators"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.judge_optimizer.load_state_dict(state["judge_optimizer"])
        self.step_count = state["step"]
        if "random" in state:  # states of an earlier version have none
            self.generator.set_state(state["random"])


def check(codec: RedCodec, config: DecoderTrainConfig) -> None:
    """Raises ValueError for settings that do not fit the codec, or each other."""
    count = codec.config.rvq.num_quantizers
    if not config.codebooks or not all(1 <= number <= count for number in config.codebooks):
        raise ValueError(f"codebooks: {config.codebooks} given; allowed: some of 1 to {count}")
    if not 0 <= config.prompt_share <= 1:
        raise ValueError(f"prompt_share: {config.prompt_share:g} given; allowed: 0 to 1")
    if config.takes not in (1, 2):
        raise ValueError(f"takes: {config.takes} given; allowed: 1 or 2")
    joins = config.adversarial_from_step < config.total_steps
    if joins and config.adversarial_frames > min(CROP_FRAMES):
        raise ValueError(
            f"adversarial_frames: {config.adversarial_frames} given; allowed: at most "
            f"{min(CROP_FRAMES)}, the shortest crop"
        )


def train(stage: StageTwo, data: CodesData, out: Path) -> None:
    """Runs to `total_steps` or `max_seconds`, saving to `out` on the way."""
    config = stage.config
    seed = config.seed + stage.step_count
    batches = data.batches(config.frames_per_step, seed, config.prompt_share)
    run(stage, lambda: stage.step(*next(batches)), config, out)
