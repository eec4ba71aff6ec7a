"""Trains guidance into a language model: first one that knows no text, then the student."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fireredtts2.llm.dual_transformer import DualTransformer
from fireredtts2.training.code_noise import with_code_noise
from fireredtts2.training.guidance import GuidedBatch, frame_logits, guidance_loss
from fireredtts2.training.losses import dual_transformer_loss
from fireredtts2.training.muon_and_adam import MuonAndAdam
from fireredtts2.training.schedule import trapezoid

WARMUP_STEPS = 20


@dataclass(frozen=True)
class GuidanceConfig:
    """Two runs: of the model that knows no text (`bare`), then of the student.

    Attributes:
        rows_per_step: of a batch, padding included.
        total_steps: of each run.
        muon_rate: for the matrices inside the transformers.
        adam_rate: for everything else.
        cooldown_share: of a run, in which the rates fall to zero.
        scale: of the guidance.
        code_noise: share of the codes read by what is trained that are those of another frame.
        depth_weight: of the depth codes' divergence; the first code's has the rest.
    """

    rows_per_step: int = 2048
    total_steps: int = 300
    muon_rate: float = 0.004
    adam_rate: float = 8e-4
    cooldown_share: float = 0.7
    scale: float = 1.0
    code_noise: float = 0.04
    depth_weight: float = 0.75
    max_seconds: float = float("inf")
    save_every: int = 50
    seed: int = 0


class _Trainer:
    """What both runs share: a model, its optimizers, and where it stands."""

    def __init__(self, model: DualTransformer, config: GuidanceConfig) -> None:
        self.model, self.config = model, config
        self.optimizer = MuonAndAdam(model, config.muon_rate, config.adam_rate)
        self.step_count = 0
        self.generator = torch.Generator().manual_seed(config.seed)

    def losses(self, batch: GuidedBatch) -> dict[str, Tensor]:
        """All losses of a batch; "total" is what is minimised."""
        raise NotImplementedError

    def step(self, batch: GuidedBatch) -> dict[str, float]:
        config = self.config
        factor = trapezoid(self.step_count, WARMUP_STEPS, config.total_steps, config.cooldown_share)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            losses = self.losses(batch)
        losses["total"].backward()
        self.optimizer.step(factor)
        self.step_count += 1
        return {name: value.item() for name, value in losses.items()}

    def state(self) -> dict:
        """For `torch.save`; `average` is the model, as the other trainers name what ships."""
        return {
            "average": self.model.state_dict(),
            "optimizers": self.optimizer.state(),
            "step": self.step_count,
            "random": self.generator.get_state(),
        }

    def load(self, state: dict) -> None:
        self.model.load_state_dict(state["average"])
        self.optimizer.load(state["optimizers"])
        self.step_count = state["step"]
        self.generator.set_state(state["random"])

    def noisy(self, tokens: Tensor, mask: Tensor) -> Tensor:
        is_frame = mask[..., 0] & tokens[..., :-1].any(-1)
        return with_code_noise(tokens, is_frame, self.config.code_noise, self.generator)


class BareTrainer(_Trainer):
    """Teaches a model to go on with speech of which it knows neither text nor voice."""

    def losses(self, batch: GuidedBatch) -> dict[str, Tensor]:
        tokens, mask = batch.bare_tokens, batch.bare_mask
        losses = dual_transformer_loss(
            self.model, tokens, mask, depth_fraction=1.0, inputs=self.noisy(tokens, mask)
        )
        return {"total": losses.total, "first_code": losses.first_code, "depth": losses.depth}


class GuidanceTrainer(_Trainer):
    """Teaches a student what two models say together.

    Args:
        model: the student.
        told: reads text and voice; the student as it began.
        bare: reads neither.
        config: how.
    """

    def __init__(
        self,
        model: DualTransformer,
        told: DualTransformer,
        bare: DualTransformer,
        config: GuidanceConfig,
    ) -> None:
        super().__init__(model, config)
        self.told = told.eval().requires_grad_(False)
        self.bare = bare.eval().requires_grad_(False)

    def losses(self, batch: GuidedBatch) -> dict[str, Tensor]:
        config = self.config
        with torch.no_grad():
            told = frame_logits(self.told, batch.tokens, batch.mask)
            bare = frame_logits(self.bare, batch.bare_tokens, batch.bare_mask)
        # NOTE: only the student reads noise: it is told what would follow without.
        noisy = self.noisy(batch.tokens, batch.mask)
        student = frame_logits(self.model, batch.tokens, batch.mask, noisy)
        first, depth = guidance_loss(student, told, bare, config.scale)
        weight = config.depth_weight
        total = (1 - weight) * first + weight * depth
        return {"total": total, "first_code": first, "depth": depth}
