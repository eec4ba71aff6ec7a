"""Trains guidance into a language model: first one that knows no text, then the student."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fireredtts2.llm.dual_transformer import DualTransformer
from fireredtts2.training.code_noise import with_code_noise
from fireredtts2.training.dual_transformer_trainer import DualTransformerTrainer
from fireredtts2.training.guidance import GuidedBatch, frame_logits, guidance_loss
from fireredtts2.training.losses import dual_transformer_loss

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


class _Trainer(DualTransformerTrainer[GuidedBatch]):
    """What both runs share."""

    def __init__(self, model: DualTransformer, config: GuidanceConfig) -> None:
        super().__init__(model, config, WARMUP_STEPS)
        self.config = config
        self.began_with: dict[str, str] = {}  # fingerprints of models by name, kept for a resume

    def state(self) -> dict:
        """For `torch.save`; `average` is the model, as the other trainers name what ships."""
        weights = {"average": self.model.state_dict(), "began_with": self.began_with}
        return {**weights, **self.progress()}

    def load(self, state: dict) -> None:
        self.model.load_state_dict(state["average"])
        self.began_with = state.get("began_with", self.began_with)
        self.load_progress(state)

    def noisy(self, tokens: Tensor, mask: Tensor) -> Tensor:
        return with_code_noise(tokens, mask, self.config.code_noise, self.generator)


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
