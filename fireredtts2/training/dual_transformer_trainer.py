"""One step of every training of a dual transformer from codes, and where it stands."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Any, Generic, Protocol, TypeVar

import torch
from torch import Tensor, nn

from fireredtts2.llm.dual_transformer import DualTransformer
from fireredtts2.training.bad_steps import MAX_BAD_STEPS, BadSteps
from fireredtts2.training.muon_and_adam import MuonAndAdam
from fireredtts2.training.precision import CPU, computing_quickly
from fireredtts2.training.schedule import trapezoid

Batch = TypeVar("Batch")


class Rates(Protocol):
    """What a step needs to know of a run."""

    @property
    def total_steps(self) -> int: ...
    @property
    def cooldown_share(self) -> float: ...
    @property
    def muon_rate(self) -> float: ...
    @property
    def adam_rate(self) -> float: ...
    @property
    def seed(self) -> int: ...


class DualTransformerTrainer(ABC, Generic[Batch]):
    """A model, its optimizers and its random numbers; subclasses say what is minimised.

    Args:
        model: learns.
        rates: of the run.
        warmup_steps: in which the rates rise.
        beside: parameters that learn with it and do not ship.
    """

    def __init__(
        self,
        model: DualTransformer,
        rates: Rates,
        warmup_steps: int,
        beside: Iterable[nn.Parameter] = (),
    ) -> None:
        self.model, self.rates, self.warmup_steps = model, rates, warmup_steps
        self.optimizer = MuonAndAdam(model, rates.muon_rate, rates.adam_rate, beside)
        self.bad_steps = BadSteps(MAX_BAD_STEPS, "clips")
        self.step_count = 0
        self.generator = torch.Generator().manual_seed(rates.seed)

    @abstractmethod
    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """All losses of a batch; "total" is what is minimised."""

    def step(self, batch: Batch) -> dict[str, float]:
        """One update, left out where a gradient is not finite.

        Raises:
            TrainingDivergedError: that happened `MAX_BAD_STEPS` times in a row.
        """
        rates = self.rates
        factor = trapezoid(
            self.step_count, self.warmup_steps, rates.total_steps, rates.cooldown_share
        )
        with computing_quickly(CPU):
            losses = self.losses(batch)
        losses["total"].backward()
        is_good = self.optimizer.step(factor)
        self.step_count += 1
        self.bad_steps.count(self.step_count, is_good)
        return {name: value.item() for name, value in losses.items()}

    def progress(self) -> dict[str, Any]:
        """Where it stands, without weights, for `torch.save`."""
        return {
            "optimizers": self.optimizer.state(),
            "step": self.step_count,
            "random": self.generator.get_state(),
        }

    def load_progress(self, state: dict[str, Any]) -> None:
        """Takes over what `progress` gave."""
        self.optimizer.load(state["optimizers"])
        self.step_count = state["step"]
        self.generator.set_state(state["random"])
