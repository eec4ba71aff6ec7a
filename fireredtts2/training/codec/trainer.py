"""One step of learning: a stage, its discriminators, and the averaged weights.

All that is random in a step is drawn from (seed, step, batch), and a batch is a function of its
number: there is no random state and no position in the data to carry, and a resumed run draws and
reads what the uncut run would have.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fireredtts2.training.averages import average_decay, follow
from fireredtts2.training.bad_steps import BadSteps
from fireredtts2.training.codec.judges import Judges, build_adamw
from fireredtts2.training.codec.quantization import Uses
from fireredtts2.training.codec.recipe import CodecRecipe
from fireredtts2.training.codec.stage import NOISE, Stage
from fireredtts2.training.finetune.optimizer import set_rates
from fireredtts2.training.finetune.optimizer_state import load_gathered
from fireredtts2.training.schedule import rate_share

LEARN = 2**20  # as a number for draws, beyond the batches of a step


class CodecTrainer:
    """Where a run stands, and its next step."""

    def __init__(self, stage: Stage, recipe: CodecRecipe, device: torch.device) -> None:
        self.stage, self.recipe, self.device = stage, recipe, device
        optim = recipe.optim
        self.optimizer = build_adamw(stage.trained.values(), optim.learning_rate, optim, device)
        self.judges: Judges | None = None
        if recipe.loss.adversarial_from_step is not None:
            self.judges = Judges(recipe, stage.samples_per_frame, device)
        self.average = _copied(self.moving()) if optim.ema_decay else None
        self.step_count = 0
        self.bad_steps = BadSteps(recipe.optim.max_bad_steps, "sounds")

    def moving(self) -> dict[str, Tensor]:
        """Everything that training changes in the codec and beside it, but the discriminators."""
        return {**self.stage.trained, **self.stage.buffers}

    # --- Where it stands ----------------------------------------------------------------------

    @property
    def _judges_now(self) -> Judges | None:
        """The discriminators, once they have joined."""
        has_joined = self.judges is not None and self.judges.have_joined(self.step_count)
        return self.judges if has_joined else None

    @property
    def _is_learning(self) -> bool:
        """Whether the codec learns, not the discriminators alone."""
        return self.judges is None or not self.judges.are_alone(self.step_count)

    @property
    def phase(self) -> str:
        return f"{self.stage.phase}{'-adversarial' if self._judges_now else ''}"

    @property
    def is_in_last_phase(self) -> bool:
        """Whether all has joined that is going to."""
        return self.stage.phase != NOISE and self._judges_now is self.judges

    # --- One step -----------------------------------------------------------------------------

    def step(self) -> dict[str, float]:
        """Learns from the next batches; a step whose loss or gradient is not finite is skipped.

        Raises:
            TrainingDivergedError: that happened `optim.max_bad_steps` times in a row.
        """
        if self.stage.prepare(self.step_count) and self.average is not None:
            self.average = _copied(self.moving())
        values, uses = self._gradients()
        norms = self._norms()
        optim = self.recipe.optim
        share = rate_share(optim.schedule, self.step_count, optim.warmup_steps, optim.total_steps)
        is_good = all(math.isfinite(value) for value in (*values.values(), *norms.values()))
        if is_good:
            self._update(share, uses)
        self.optimizer.zero_grad(set_to_none=True)
        if self.judges is not None:
            self.judges.optimizer.zero_grad(set_to_none=True)
        self.step_count += 1
        self.bad_steps.count(self.step_count, is_good)
        return {**values, **norms, "rate": share, "skipped": float(not is_good)}

    def _gradients(self) -> tuple[dict[str, float], list[Uses]]:
        """Runs the step's batches backward; mean losses by name, and the codebooks' uses."""
        count = self.recipe.optim.batches_per_step
        totals: dict[str, Tensor] = {}
        uses: list[Uses] = []
        for index in range(count):
            for name, value in self._one_batch(index, count, uses).items():
                totals[name] = totals.get(name, torch.zeros_like(value)) + value / count
        named = {name: float(value) for name, value in totals.items()}
        # What the discriminators lose is theirs, not minimised with the rest.
        total = sum(value for name, value in named.items() if name != "judged")
        return {"loss": total, **named}, uses

    def _one_batch(self, index: int, count: int, uses: list[Uses]) -> dict[str, Tensor]:
        """Gradients of one batch; its losses by name."""
        number, judges = self.step_count * count + index, self._judges_now
        generator = self._seeded(index)
        with torch.set_grad_enabled(self._is_learning):
            done = self.stage.losses(number, self.step_count, generator, judges is not None)
        parts = dict(done.parts) if self._is_learning else {}
        judged: dict[str, Tensor] = {}
        if judges is not None:
            made, real = judges.windows(done, generator)
            judged["judged"] = judges.learn(made, real, 1 / count)
            if self._is_learning:
                parts |= judges.verdict(made, real)
        if parts:
            (torch.stack(list(parts.values())).sum() / count).backward()
        if self._is_learning and done.uses is not None:
            uses.append(done.uses)
        return {name: value.detach() for name, value in {**parts, **judged}.items()}

    def _seeded(self, number: int) -> torch.Generator:
        """The draws of one batch of this step."""
        words = np.random.SeedSequence([self.recipe.run.seed, self.step_count, number])
        return torch.Generator().manual_seed(int(words.generate_state(1)[0]))

    def _norms(self) -> dict[str, float]:
        limit = self.recipe.optim.clip_norm or math.inf
        norms = {}
        if self._is_learning:
            norms["gradient"] = float(nn.utils.clip_grad_norm_(self.stage.trained.values(), limit))
        if self._judges_now is not None:
            norms["judges_gradient"] = self._judges_now.clipped_norm(limit)
        return norms

    def _update(self, share: float, uses: list[Uses]) -> None:
        if self._judges_now is not None:
            self._judges_now.optimizer.step()
        if not self._is_learning:
            return
        set_rates([self.optimizer], share)
        self.optimizer.step()
        if uses:
            self.stage.learn(uses, self._seeded(LEARN))
        if self.average is not None:
            decay = average_decay(self.recipe.optim.ema_decay, self.step_count)
            follow(self.average, self.moving(), decay)

    # --- Weights and state --------------------------------------------------------------------

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """Puts the averaged weights, where there are any, into the codec for a while."""
        if self.average is None:
            yield
            return
        kept = _copied(self.moving())
        self.fill(self.average)
        try:
            yield
        finally:
            self.fill(kept)

    @torch.no_grad()
    def fill(self, values: dict[str, Tensor]) -> None:
        for name, tensor in self.moving().items():
            tensor.copy_(values[name])

    def weights(self) -> dict[str, Tensor]:
        """What training changed, as it should be used: averaged where that is wanted."""
        source = self.moving() if self.average is None else self.average
        return {name: value.detach().cpu().clone() for name, value in source.items()}

    def state(self) -> dict[str, Any]:
        """Everything that a resumed run needs."""
        return {
            "moving": {name: value.detach() for name, value in self.moving().items()},
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "judges": None if self.judges is None else self.judges.state(),
            "stage": self.stage.state(),
            "step": self.step_count,
            **self.bad_steps.state(),
        }

    def load(self, state: dict[str, Any]) -> None:
        self.fill(state["moving"])
        if self.average is not None:
            for name, kept in self.average.items():
                kept.copy_(state["average"][name])
        load_gathered(self.optimizer, state["optimizer"])
        if self.judges is not None:
            self.judges.load(state["judges"])
        self.stage.load(state["stage"])
        self.step_count = state["step"]
        self.bad_steps.load(state)


def _copied(values: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: value.detach().clone() for name, value in values.items()}
