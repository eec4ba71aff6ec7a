"""The discriminators of a run: when they join, what they learn, what they make of a sound."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from fireredtts2.training.codec.adversarial import windows
from fireredtts2.training.codec.recipe import CodecRecipe
from fireredtts2.training.codec.recipe_sections import OptimRecipe
from fireredtts2.training.codec.stage import StepLosses
from fireredtts2.training.discriminators import Discriminators
from fireredtts2.training.finetune.optimizer_state import load_gathered
from fireredtts2.training.precision import computing_in


class Judges:
    """Discriminators with an optimizer of their own."""

    def __init__(self, recipe: CodecRecipe, samples_per_frame: int, device: torch.device) -> None:
        joins = recipe.loss.adversarial_from_step
        assert joins is not None
        self.recipe, self.device, self.joins = recipe, device, joins
        self.precision = recipe.precision_on(device)
        self.size = recipe.loss.adversarial_frames * samples_per_frame
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.run.seed + 1)
            self.members = Discriminators(recipe.loss.discriminator_width).to(device)
        rate = recipe.optim.discriminator_rate
        self.optimizer = build_adamw(self.members.parameters(), rate, recipe.optim, device)

    def have_joined(self, step: int) -> bool:
        return step >= self.joins

    def are_alone(self, step: int) -> bool:
        """Whether a step trains nothing else."""
        return self.have_joined(step) and step < self.joins + self.recipe.loss.discriminators_alone

    def windows(self, done: StepLosses, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """What they see of a batch: (windows, samples) made, and real."""
        assert done.made is not None
        assert done.real is not None
        count = self.recipe.loss.adversarial_windows
        return windows(done.made, done.real, self.size, count, generator)

    def learn(self, made: Tensor, real: Tensor, share: float) -> Tensor:
        """Adds to their gradients a share of a batch's; returns their loss."""
        # NOTE: the sound is made in float32, or it would be judged by what bfloat16 rounds off; the
        # discriminators judge alike in bfloat16, in half the time.
        with computing_in(self.device, self.precision):
            judged = self.members.loss(made, real)
        (judged * share).backward()
        return judged.detach()

    def verdict(self, made: Tensor, real: Tensor) -> dict[str, Tensor]:
        """Weighted losses of who made the sound, by the discriminators as they are now."""
        self.members.requires_grad_(False)
        with computing_in(self.device, self.precision):
            adversarial, matching = self.members.generator_losses(made, real)
        self.members.requires_grad_(True)
        loss = self.recipe.loss
        return {
            "adversarial": loss.adversarial_weight * adversarial,
            "matching": loss.matching_weight * matching,
        }

    def clipped_norm(self, limit: float) -> float:
        return float(nn.utils.clip_grad_norm_(self.members.parameters(), limit))

    def state(self) -> dict[str, Any]:
        return {"members": self.members.state_dict(), "optimizer": self.optimizer.state_dict()}

    def load(self, state: dict[str, Any]) -> None:
        self.members.load_state_dict(state["members"])
        load_gathered(self.optimizer, state["optimizer"])


def build_adamw(
    parameters: Iterable[nn.Parameter], rate: float, recipe: OptimRecipe, device: torch.device
) -> torch.optim.AdamW:
    """An optimizer whose groups remember their highest rate under "peak"."""
    beta1, beta2 = recipe.betas
    optimizer = torch.optim.AdamW(
        list(parameters),
        lr=rate,
        betas=(beta1, beta2),
        weight_decay=recipe.weight_decay,
        fused=device.type == "cuda",
    )
    for group in optimizer.param_groups:
        group["peak"] = rate
    return optimizer
