"""Trains the codec's first stage: encoders, quantizer and a decoder together (paper, section 2.1).

Stage one's decoder is only for training, as the paper's is: it is not causal, and here it gives
spectrograms instead of sound (`SpectrogramDecoder`), which a small budget learns sooner.
The frozen branch's features come from disk. The first steps add noise in place of quantization;
then the codebooks start from the latents (`codebook.start_from_data`) and learn by moving averages.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from fireredtts2.codec import RedCodec
from fireredtts2.training.bad_steps import MAX_BAD_STEPS, BadSteps, step_if_finite
from fireredtts2.training.codec.quantization import (
    Uses,
    learn_codebooks,
    start_codebooks,
    uses_of,
    with_dropout,
    with_noise,
)
from fireredtts2.training.codec_data import CodecBatch, CodecData
from fireredtts2.training.run import run
from fireredtts2.training.schedule import learning_rate
from fireredtts2.training.spectrogram_decoder import SpectrogramDecoder, Spectrograms

log = logging.getLogger(__name__)
MAX_NORM = 1.0
LATENT_BATCHES = 40  # of these the codebooks start
UPSAMPLE_FACTOR = 4


@dataclass(frozen=True)
class CodecTrainConfig:
    """One run of stage one."""

    chunks_per_step: int = 16
    crop_frames: int = 36
    learning_rate: float = 1e-3
    warmup_steps: int = 100
    total_steps: int = 4000
    quantize_after_steps: int = 500
    whole_from: float = 0.75  # share of the run after which the encoders see whole chunks
    noise_share: float = 0.3  # of the latents' deviation, before there is quantization
    commitment_weight: float = 0.1
    semantic_weight: float = 0.5
    dropout_share: float = 0.2  # rows that use only their first codebooks
    max_seconds: float = float("inf")
    save_every: int = 100
    seed: int = 0


class StageOne:
    """The model, its optimizer and where it stands; `step` is one update."""

    def __init__(self, codec: RedCodec, config: CodecTrainConfig) -> None:
        self.codec, self.config = codec, config
        self.decoder = SpectrogramDecoder(codec.config.upsample.embed_dim)
        self.spectrograms = Spectrograms()
        codec.ssl.requires_grad_(False)
        codec.acoustic_decoder.requires_grad_(False)  # stage two's
        modules = (codec, self.decoder)
        self.parameters = [p for m in modules for p in m.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=config.learning_rate, betas=(0.8, 0.99), weight_decay=0.01
        )
        self.bad_steps = BadSteps(MAX_BAD_STEPS, "clips")
        self.step_count = 0
        self.quantizing = False
        self.generator = torch.Generator().manual_seed(config.seed)

    def step(self, batch: CodecBatch) -> dict[str, float]:
        """One update, of the codebooks too; left out where a gradient is not finite.

        Raises:
            TrainingDivergedError: that happened `MAX_BAD_STEPS` times in a row.
        """
        rate = learning_rate(
            self.step_count,
            self.config.learning_rate,
            self.config.warmup_steps,
            self.config.total_steps,
        )
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        with torch.autocast("cpu", dtype=torch.bfloat16):
            losses, uses = self.losses(batch)
        total = torch.stack(list(losses.values())).sum()
        is_good = step_if_finite(total, self.optimizer, self.parameters, MAX_NORM)
        if is_good and uses is not None:
            learn_codebooks(self.codec.rvq, [uses], self.generator)
        self.step_count += 1
        self.bad_steps.count(self.step_count, is_good)
        return {name: value.item() for name, value in losses.items()}

    def losses(self, batch: CodecBatch) -> tuple[dict[str, Tensor], Uses | None]:
        """Spectrogram, semantic and commitment losses of one batch, and the codebooks' uses."""
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
        return losses, uses

    def _quantized(self, latents: Tensor, live: Tensor) -> tuple[Tensor, Tensor, Uses | None]:
        """Values (B, D, T), the commitment loss, and once there are codebooks their uses."""
        rvq, config = self.codec.rvq, self.config
        if not self.quantizing:
            values = with_noise(rvq, latents, config.noise_share, self.generator)
            return values, values.new_zeros(()), None
        quantized = with_dropout(rvq, latents, config.dropout_share, self.generator)
        return quantized.values, quantized.commitment, uses_of(rvq, latents, live)

    @torch.no_grad()
    def start_quantizing(self, batches: list[CodecBatch]) -> None:
        """Sets the codebooks from the latents of some batches."""
        with torch.autocast("cpu", dtype=torch.bfloat16):
            latents = [(self.codec.encoded(b.mel, b.semantic), b.live) for b in batches]
        left = start_codebooks(self.codec.rvq, latents, self.generator)
        log.info("codebooks start; variance left by level: %s", [round(x, 3) for x in left])
        self.quantizing = True

    def state(self) -> dict:
        return {
            "generator": self.codec.state_dict(),
            "spectrogram_decoder": self.decoder.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step_count,
            "quantizing": self.quantizing,
            "random": self.generator.get_state(),
        }

    def load(self, state: dict) -> None:
        self.codec.load_state_dict(state["generator"])
        self.decoder.load_state_dict(state["spectrogram_decoder"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step_count, self.quantizing = state["step"], state["quantizing"]
        self.generator.set_state(state["random"])


def train(codec: RedCodec, work: Path, config: CodecTrainConfig, out: Path) -> None:
    """Runs stage one to `total_steps` or `max_seconds`; goes on from `out` where it exists."""
    torch.manual_seed(config.seed)
    stage = StageOne(codec, config)
    if out.exists():
        stage.load(torch.load(out, weights_only=True))
        log.info("going on from step %d", stage.step_count)
    data = CodecData(work, config.crop_frames)
    batches = data.batches(config.chunks_per_step, config.seed + stage.step_count)

    def step() -> dict[str, float]:
        data.whole = stage.step_count >= config.whole_from * config.total_steps
        if stage.step_count >= config.quantize_after_steps and not stage.quantizing:
            stage.start_quantizing([next(batches) for _ in range(LATENT_BATCHES)])
        return stage.step(next(batches))

    run(stage, step, config, out)
