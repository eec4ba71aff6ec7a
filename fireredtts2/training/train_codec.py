"""Trains the codec's first stage: encoders, quantizer and a decoder together (paper, section 2.1).

Stage one's decoder is only for training, as the paper's is: it is not causal, and here it gives
spectrograms instead of sound (`SpectrogramDecoder`), which a small budget learns sooner.
The frozen branch's features come from disk. The first steps add noise in place of quantization;
then the codebooks start from the latents (`codebook.start_from_data`) and learn by moving averages.

Three things that the paper does not have, for a codec whose language model makes few of its
codebooks. Many rows may use as few. A network that is only for training may name the sound of every
20 ms in what the codes give back: as losses, spectra and features lose words sooner than they lose
voices. And what ships is the running average of the weights.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fireredtts2.codec import RedCodec
from fireredtts2.proofing.ctc_aligner import CtcAligner
from fireredtts2.training.averages import average_decay, follow
from fireredtts2.training.bad_steps import MAX_BAD_STEPS, BadSteps, step_if_finite
from fireredtts2.training.codebook import entries
from fireredtts2.training.codec.quantization import (
    Uses,
    learn_codebooks,
    start_codebooks,
    uses_of,
    with_dropout,
    with_noise,
)
from fireredtts2.training.codec_data import UNKNOWN_SOUND, CodecBatch, CodecData
from fireredtts2.training.precision import CPU, computing_quickly
from fireredtts2.training.run import run
from fireredtts2.training.schedule import trapezoid
from fireredtts2.training.spectrogram_decoder import SpectrogramDecoder, Spectrograms

log = logging.getLogger(__name__)
MAX_NORM = 1.0
LATENT_BATCHES = 40  # of these the codebooks start
UPSAMPLE_FACTOR = 4
AVERAGE_DECAY = 0.99
NAMER_SIZES = (192, 2)  # hidden width and blocks of what names the sounds


@dataclass(frozen=True)
class CodecTrainConfig:
    """One run of stage one."""

    chunks_per_step: int = 16
    crop_frames: int = 36
    learning_rate: float = 1e-3
    warmup_steps: int = 100
    total_steps: int = 4000
    cooldown_share: float = 0.6  # of the run, over which the rate falls to zero
    alone_steps: int = 0  # first steps in which only decoders learn: for a codec that has learnt
    ends_share: float = 0.0  # of the crops, that lie at an end of their chunk
    quantize_after_steps: int = 500  # where the codec has no codebooks yet
    whole_from: float = 0.75  # share of the run after which the encoders see whole chunks
    noise_share: float = 0.3  # of the latents' deviation, before there is quantization
    commitment_weight: float = 0.1
    semantic_weight: float = 0.5
    sounds_weight: float = 0.0  # of naming the sounds
    dropout_share: float = 0.2  # rows that use any number of codebooks
    few_codebooks: int = 0  # how many the language model will make
    few_share: float = 0.0  # of the rows, that use as many
    max_seconds: float = float("inf")
    save_every: int = 100
    seed: int = 0


class StageOne:
    """The model, its optimizer and where it stands; `step` is one update."""

    def __init__(self, codec: RedCodec, config: CodecTrainConfig) -> None:
        """A codec that has codebooks keeps them.

        Raises:
            ValueError: settings that do not fit the codec, or each other.
        """
        check(codec, config)
        self.codec, self.config = codec, config
        dim = codec.config.upsample.embed_dim
        self.decoder, self.namer = SpectrogramDecoder(dim), CtcAligner(dim, *NAMER_SIZES)
        self.spectrograms = Spectrograms()
        self.optimizer = self._optimizer()
        self.parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        self.average = copy.deepcopy(codec).eval().requires_grad_(False)
        self.bad_steps = BadSteps(MAX_BAD_STEPS, "clips")
        self.step_count = 0
        self.quantizing = all(bool(level.inited) for level in codec.rvq.levels)
        self.generator = torch.Generator().manual_seed(config.seed)

    def _optimizer(self) -> torch.optim.Optimizer:
        """Of two groups: what comes after the codes, and what makes them."""
        codec, config = self.codec, self.config
        codec.ssl.requires_grad_(False)
        codec.acoustic_decoder.requires_grad_(False)  # stage two's
        self.namer.requires_grad_(config.sounds_weight > 0)
        decoders = (codec.upsample, codec.semantic_decoder, self.decoder, self.namer)
        after = nn.ModuleList((codec.rvq.output_proj, *decoders))
        known = set(after.parameters())
        makes = [p for p in codec.parameters() if p.requires_grad and p not in known]
        groups = [[p for p in after.parameters() if p.requires_grad], makes]
        return torch.optim.AdamW(
            [{"params": group} for group in groups],
            lr=config.learning_rate,
            betas=(0.8, 0.99),
            weight_decay=0.01,
        )

    @property
    def is_alone(self) -> bool:
        """Whether only what comes after the codes learns."""
        return self.step_count < self.config.alone_steps

    def _rate_shares(self) -> tuple[float, float]:
        """Of the highest rate, for the two groups."""
        step, config = self.step_count, self.config
        falling = trapezoid(step, 0, config.total_steps, config.cooldown_share)
        warmup = max(1, config.warmup_steps)
        since_alone = max(0, step - config.alone_steps + 1)
        return falling * min(1.0, (step + 1) / warmup), falling * min(1.0, since_alone / warmup)

    def step(self, batch: CodecBatch) -> dict[str, float]:
        """One update, of the codebooks too; left out where a gradient is not finite.

        Raises:
            TrainingDivergedError: that happened `MAX_BAD_STEPS` times in a row.
        """
        groups = self.optimizer.param_groups
        for group, share in zip(groups, self._rate_shares(), strict=True):
            group["lr"] = share * self.config.learning_rate
        for parameter in groups[1]["params"]:
            parameter.requires_grad_(not self.is_alone)
        with computing_quickly(CPU):
            losses, uses = self.losses(batch)
        total = torch.stack(list(losses.values())).sum()
        is_good = step_if_finite(total, self.optimizer, self.parameters, MAX_NORM)
        if is_good and uses is not None and not self.is_alone:
            learn_codebooks(self.codec.rvq, [uses], self.generator)
        if is_good:
            self._average()
        self.step_count += 1
        self.bad_steps.count(self.step_count, is_good)
        return {name: value.item() for name, value in losses.items()}

    @torch.no_grad()
    def _average(self) -> None:
        """Of buffers too, of which codebooks are made."""
        decay = average_decay(AVERAGE_DECAY, self.step_count)
        follow(self.average.state_dict(), self.codec.state_dict(), decay)
        if self.quantizing:
            for level in self.average.rvq.levels:
                # NOTE: the mean of the entries would remember where dead ones had been.
                level.codebook.copy_(entries(level))

    def losses(self, batch: CodecBatch) -> tuple[dict[str, Tensor], Uses | None]:
        """The losses of a batch, each with its weight, and the codebooks' uses."""
        codec, config = self.codec, self.config
        latents = codec.encoded(batch.mel, batch.semantic).float().transpose(1, 2)
        with torch.autocast("cpu", enabled=False):
            values, commitment, uses = self._quantized(latents, batch.live)
        crops = [v[:, s : s + config.crop_frames] for v, s in zip(values, batch.start, strict=True)]
        features = codec.upsample(torch.stack(crops).transpose(1, 2))
        rebuilt = codec.semantic_decoder(features)
        steps = UPSAMPLE_FACTOR * config.crop_frames
        wanted = torch.stack(
            [s[4 * t : 4 * t + steps] for s, t in zip(batch.semantic, batch.start, strict=True)]
        )
        spectra = self.spectrograms(batch.audio)
        losses = {
            "mel": (self.decoder(features).float() - spectra).abs().mean(),
            "semantic": config.semantic_weight * F.mse_loss(rebuilt.float(), wanted),
            "commitment": config.commitment_weight * commitment,
        }
        if config.sounds_weight > 0:
            losses["sounds"] = config.sounds_weight * self._sounds_loss(features, batch.sounds)
        return losses, uses

    def _sounds_loss(self, features: Tensor, sounds: Tensor) -> Tensor:
        """Cross-entropy of naming sounds (B, T) in features (B, T, D); 0 where none is known."""
        lengths = torch.full((len(features),), features.shape[1])
        named = self.namer(features.float(), lengths).float()
        total = F.nll_loss(named.mT, sounds, ignore_index=UNKNOWN_SOUND, reduction="sum")
        return total / (sounds != UNKNOWN_SOUND).sum().clamp(min=1)

    def _quantized(self, latents: Tensor, live: Tensor) -> tuple[Tensor, Tensor, Uses | None]:
        """Values (B, D, T), the commitment loss, and once there are codebooks their uses."""
        rvq, config = self.codec.rvq, self.config
        if not self.quantizing:
            values = with_noise(rvq, latents, config.noise_share, self.generator)
            return values, values.new_zeros(()), None
        quantized = with_dropout(
            rvq, latents, config.dropout_share, self.generator,
            config.few_codebooks, config.few_share,
        )  # fmt: skip
        return quantized.values, quantized.commitment, uses_of(rvq, latents, live)

    @torch.no_grad()
    def start_quantizing(self, batches: list[CodecBatch]) -> None:
        """Sets the codebooks from the latents of some batches."""
        with computing_quickly(CPU):
            latents = [(self.codec.encoded(b.mel, b.semantic), b.live) for b in batches]
        left = start_codebooks(self.codec.rvq, latents, self.generator)
        log.info("codebooks start; variance left by level: %s", [round(x, 3) for x in left])
        self.average.load_state_dict(self.codec.state_dict())
        self.quantizing = True

    def state(self) -> dict:
        return {
            "generator": self.codec.state_dict(),
            "average": self.average.state_dict(),
            "spectrogram_decoder": self.decoder.state_dict(),
            "namer": self.namer.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step_count,
            "quantizing": self.quantizing,
            "random": self.generator.get_state(),
        }

    def load(self, state: dict) -> None:
        """Raises ValueError for a state of an earlier version."""
        if "average" not in state:
            raise ValueError(
                "stage one was begun by an earlier version and cannot go on; begin in a new folder"
            )
        self.codec.load_state_dict(state["generator"])
        self.average.load_state_dict(state["average"])
        self.decoder.load_state_dict(state["spectrogram_decoder"])
        self.namer.load_state_dict(state["namer"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step_count, self.quantizing = state["step"], state["quantizing"]
        self.generator.set_state(state["random"])


def check(codec: RedCodec, config: CodecTrainConfig) -> None:
    """Raises ValueError for settings that do not fit the codec, or each other."""
    for name in ("ends_share", "dropout_share", "few_share"):
        if not 0 <= getattr(config, name) <= 1:
            raise ValueError(f"{name}: {getattr(config, name):g} given; allowed: 0 to 1")
    for name in ("commitment_weight", "semantic_weight", "sounds_weight", "cooldown_share"):
        if not getattr(config, name) >= 0:
            raise ValueError(f"{name}: {getattr(config, name):g} given; allowed: 0 or more")
    shares = config.dropout_share + config.few_share
    if shares > 1:
        raise ValueError(f"dropout_share and few_share: together {shares:g}; allowed: at most 1")
    count, few = codec.config.rvq.num_quantizers, config.few_codebooks
    if config.few_share and not 1 <= few <= count:
        raise ValueError(f"few_codebooks: {few} given; allowed: 1 to {count}")
    if not 0 <= config.alone_steps < config.total_steps:
        raise ValueError(
            f"alone_steps: {config.alone_steps} given; allowed: 0 or more, and fewer than the "
            f"{config.total_steps} of the run"
        )


def train(
    codec: RedCodec,
    work: Path,
    config: CodecTrainConfig,
    out: Path,
    sounds: Mapping[int, np.ndarray] | None = None,
) -> int:
    """Runs stage one to `total_steps` or `max_seconds`; goes on from `out` where it exists.

    Args:
        codec: what is trained, in place.
        work: the prepared folder.
        config: the run.
        out: where it is saved.
        sounds: by clip, the class (steps,) of each 20 ms, where their naming is a loss.

    Returns:
        How many steps it has taken in all.

    Raises:
        ValueError: naming is a loss, and no sounds are given; or settings that do not fit.
    """
    if config.sounds_weight > 0 and not sounds:
        raise ValueError(f"sounds_weight: {config.sounds_weight:g} given, but no clip's sounds are")
    torch.manual_seed(config.seed)
    stage = StageOne(codec, config)
    if out.exists():
        stage.load(torch.load(out, weights_only=True))
        log.info("going on from step %d", stage.step_count)
    data = CodecData(work, config.crop_frames, ends_share=config.ends_share, sounds=sounds)
    batches = data.batches(config.chunks_per_step, config.seed + stage.step_count)

    def step() -> dict[str, float]:
        data.whole = stage.step_count >= config.whole_from * config.total_steps
        if stage.step_count >= config.quantize_after_steps and not stage.quantizing:
            stage.start_quantizing([next(batches) for _ in range(LATENT_BATCHES)])
        return stage.step(next(batches))

    run(stage, step, config, out)
    return stage.step_count
