"""Trains the codec's first stage: encoders, quantizer and decoder together (paper, section 2.1).

The frozen branch's features come from disk. The first steps run without quantization; then the
codebooks start from the latents (`codebook.start_from_data`) and learn by moving averages.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from fireredtts2.codec import RedCodec
from fireredtts2.config import OUTPUT_SAMPLES_PER_FRAME
from fireredtts2.training.codebook import start_from_data, update_averages
from fireredtts2.training.codec_data import CodecBatch, CodecData
from fireredtts2.training.run import run
from fireredtts2.training.schedule import learning_rate
from fireredtts2.training.spectral_losses import MultiResolutionMelLoss

log = logging.getLogger(__name__)
LATENT_BATCHES = 40  # of these the codebooks start
UPSAMPLE_FACTOR = 4


@dataclass(frozen=True)
class CodecTrainConfig:
    """One run of stage one."""

    chunks_per_step: int = 8
    crop_frames: int = 20
    learning_rate: float = 1e-3
    warmup_steps: int = 100
    total_steps: int = 2400
    quantize_after_steps: int = 350
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
        self.mel_loss = MultiResolutionMelLoss()
        codec.ssl.requires_grad_(False)
        self.parameters = [p for p in codec.parameters() if p.requires_grad]
        self.optimizer = torch.optim.AdamW(
            self.parameters, lr=config.learning_rate, betas=(0.8, 0.99), weight_decay=0.01
        )
        self.step_count = 0
        self.quantizing = False
        self.generator = torch.Generator().manual_seed(config.seed)

    def step(self, batch: CodecBatch) -> dict[str, float]:
        rate = learning_rate(
            self.step_count,
            self.config.learning_rate,
            self.config.warmup_steps,
            self.config.total_steps,
        )
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        losses = self.losses(batch)
        self.optimizer.zero_grad(set_to_none=True)
        sum(losses.values()).backward()  # type: ignore[union-attr]
        torch.nn.utils.clip_grad_norm_(self.parameters, 1.0)
        self.optimizer.step()
        self.step_count += 1
        return {name: value.item() for name, value in losses.items()}

    def losses(self, batch: CodecBatch) -> dict[str, Tensor]:
        """Mel, semantic and commitment losses of one batch."""
        codec, config = self.codec, self.config
        latents = codec.encoded(batch.mel, batch.semantic).transpose(1, 2)
        values, commitment = self._quantized(latents, batch.live)
        crops = [v[:, s : s + config.crop_frames] for v, s in zip(values, batch.start, strict=True)]
        features = codec.upsample(torch.stack(crops).transpose(1, 2))
        made = codec.acoustic_decoder(features)
        rebuilt = codec.semantic_decoder(features)
        steps = UPSAMPLE_FACTOR * config.crop_frames
        wanted = torch.stack(
            [s[4 * t : 4 * t + steps] for s, t in zip(batch.semantic, batch.start, strict=True)]
        )
        assert made.shape[1] == config.crop_frames * OUTPUT_SAMPLES_PER_FRAME
        return {
            "mel": self.mel_loss(made, batch.audio),
            "semantic": config.semantic_weight * F.mse_loss(rebuilt, wanted),
            "commitment": config.commitment_weight * commitment,
        }

    def _quantized(self, latents: Tensor, live: Tensor) -> tuple[Tensor, Tensor]:
        rvq = self.codec.rvq
        if not self.quantizing:
            values = rvq.output_proj(rvq.input_proj(latents))
            return values, values.new_zeros(())
        num = rvq.config.num_quantizers
        active = torch.full((latents.shape[0],), num)
        dropped = torch.rand(len(active), generator=self.generator) < self.config.dropout_share
        drawn = torch.randint(1, num + 1, active.shape, generator=self.generator)
        quantized = rvq(latents, torch.where(dropped, drawn, active))
        self._learn_codebooks(latents, quantized.codes, live)
        return quantized.values, quantized.commitment

    @torch.no_grad()
    def _learn_codebooks(self, latents: Tensor, codes: Tensor, live: Tensor) -> None:
        rvq = self.codec.rvq
        residual = rvq.input_proj(latents)
        chosen = torch.arange(latents.shape[2]) < live[:, None]
        for index, quantizer in enumerate(rvq.levels):
            code = codes[:, index]
            points = quantizer.in_project(residual)
            residual = residual - quantizer.lookup(code)
            update_averages(quantizer, points.transpose(1, 2)[chosen], code[chosen])

    @torch.no_grad()
    def start_quantizing(self, batches: list[CodecBatch]) -> None:
        """Sets the codebooks from the latents of some batches."""
        latents = []
        for batch in batches:
            x = self.codec.rvq.input_proj(self.codec.encoded(batch.mel, batch.semantic).mT)
            chosen = torch.arange(x.shape[2]) < batch.live[:, None]
            latents.append(x.transpose(1, 2)[chosen])
        left = start_from_data(self.codec.rvq, torch.cat(latents), self.generator)
        log.info("codebooks start; variance left by level: %s", [round(x, 3) for x in left])
        self.quantizing = True

    def state(self) -> dict:
        return {
            "generator": self.codec.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step_count,
            "quantizing": self.quantizing,
            "random": self.generator.get_state(),
        }

    def load(self, state: dict) -> None:
        self.codec.load_state_dict(state["generator"])
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
        if stage.step_count >= config.quantize_after_steps and not stage.quantizing:
            stage.start_quantizing([next(batches) for _ in range(LATENT_BATCHES)])
        return stage.step(next(batches))

    run(stage, step, config, out)
