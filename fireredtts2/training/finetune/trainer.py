"""The model, its optimizers, its averaged weights, and one step of learning.

All that is random in a step is drawn from (seed, step, batch): there is no random state to carry,
and a resumed run draws what the uncut run would have drawn.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fireredtts2.llm.dual_transformer import DualTransformer
from fireredtts2.training.averages import average_decay, follow
from fireredtts2.training.bad_steps import BadSteps
from fireredtts2.training.finetune.loss_module import LOSS_NAMES, LossModule, checkpoint_blocks
from fireredtts2.training.finetune.optimizer import build_optimizers, rate_factor, set_rates
from fireredtts2.training.finetune.packing import Pack, Packer, with_code_noise
from fireredtts2.training.finetune.recipe import Recipe
from fireredtts2.training.finetune.sharding import (
    clip,
    gathered,
    placed,
    restore,
    shard,
    wants_shards,
    whole,
)
from fireredtts2.training.precision import computing_in, resolve_precision

VALIDATION_STEP = 2**31  # as a number for draws, beyond any step


@dataclass
class Cursor:
    """Which batch comes next."""

    epoch: int = 0
    index: int = 0

    def advance(self, packer: Packer) -> tuple[int, int]:
        """The next batch's (epoch, index); moves on."""
        if self.index >= len(packer.plan(self.epoch)):
            self.epoch, self.index = self.epoch + 1, 0
        here = (self.epoch, self.index)
        self.index += 1
        return here


class Trainer:
    """One process's part of a run; `accelerator` joins it with the others."""

    def __init__(
        self, model: DualTransformer, packer: Packer, recipe: Recipe, accelerator: Any
    ) -> None:
        self.recipe, self.packer, self.accelerator = recipe, packer, accelerator
        self.device = accelerator.device
        if recipe.optim.gradient_checkpointing:
            checkpoint_blocks(model)
        self.plain = LossModule(model, recipe.data.depth_fraction)
        self.is_sharded = wants_shards(accelerator, recipe)
        if self.is_sharded:
            shard(self.plain, model, self.device)
            self.module = self.plain
        else:
            self.module = accelerator.prepare_model(self.plain.to(self.device))
        self.trained = {n: p for n, p in model.named_parameters() if p.requires_grad}
        self.optimizers = build_optimizers(
            list(self.trained.items()), recipe.optim, self.is_sharded
        )
        self.average = (
            # In float32: a small share of a difference is lost in a bfloat16 weight.
            {n: p.detach().float().clone() for n, p in self.trained.items()}
            if recipe.optim.ema_decay
            else None
        )
        self.cursor = Cursor()
        self.step_count = 0
        self.bad_steps = BadSteps(recipe.optim.max_bad_steps, "samples")

    def step(self) -> dict[str, float]:
        """Learns from the next batches; a step whose loss or gradient is not finite is skipped.

        Raises:
            TrainingDivergedError: that happened `optim.max_bad_steps` times in a row.
        """
        places = [self.cursor.advance(self.packer) for _ in range(self._batches_per_step)]
        losses = self.accelerator.reduce(self._gradients(places), "mean")
        norm = clip(self.trained.values(), self._clip_norm)
        is_good = math.isfinite(norm) and bool(losses.isfinite().all())
        factor = rate_factor(self.recipe.optim, self.step_count)
        if is_good:
            self._update(factor)
        for optimizer in self.optimizers:
            optimizer.zero_grad(set_to_none=True)
        self.step_count += 1
        self.bad_steps.count(self.step_count, is_good)
        named = dict(zip(LOSS_NAMES, losses.tolist(), strict=True))
        return named | {"gradient": norm, "rate": factor, "skipped": float(not is_good)}

    @property
    def _batches_per_step(self) -> int:
        return self.recipe.optim.batches_per_step

    @property
    def _clip_norm(self) -> float:
        return self.recipe.optim.clip_norm or math.inf

    def _gradients(self, places: list[tuple[int, int]]) -> Tensor:
        """Runs this process's share of the batches backward; its mean losses (4,)."""
        world, rank = self.accelerator.num_processes, self.accelerator.process_index
        own = list(enumerate(places))[rank::world]
        total = torch.zeros(len(LOSS_NAMES), device=self.device)
        for count, (number, place) in enumerate(own, 1):
            # Unsplit gradients, kept till the last, are what sharding has no room for.
            waits = count < len(own) and not self.is_sharded
            with self.accelerator.no_sync(self.module) if waits else contextlib.nullcontext():
                losses = self._losses(self.module, place, number)
                (losses[0] / len(own)).backward()
            total += losses.detach() / len(own)
        return total

    def _losses(self, module: nn.Module, place: tuple[int, int], number: int) -> Tensor:
        share = self.recipe.data.code_noise
        generator = self._seeded(self.step_count, number)
        pack = self.packer.pack(*place)
        noisy = with_code_noise(pack, share, generator) if share else None
        with self._autocast():
            return module(self._moved(pack), None if noisy is None else noisy.to(self.device),
                          generator)  # fmt: skip

    def _seeded(self, step: int, number: int) -> torch.Generator:
        """The draws of one batch; torch's own (dropout) are seeded alike."""
        words = np.random.SeedSequence([self.recipe.run.seed, step, number]).generate_state(2)
        torch.manual_seed(int(words[0]))
        return torch.Generator().manual_seed(int(words[1]))

    def _moved(self, pack: Pack) -> Pack:
        device = self.device
        return Pack(pack.tokens.to(device), pack.mask.to(device), pack.segment_ids.to(device))

    def _autocast(self) -> contextlib.AbstractContextManager:
        precision = resolve_precision(self.recipe.optim.precision, self.device)
        return computing_in(self.device, precision)

    def _update(self, factor: float) -> None:
        set_rates(self.optimizers, factor)
        self._seeded(self.step_count, self._batches_per_step)  # 8-bit updates round at random
        for optimizer in self.optimizers:
            optimizer.step()
        if self.average is not None:
            decay = average_decay(self.recipe.optim.ema_decay, self.step_count)
            follow(self.average, self.trained, decay)

    @torch.no_grad()
    def validate(self, packer: Packer) -> dict[str, float]:
        """Mean losses over the first batches of a packer, weighted by their frames."""
        world, rank = self.accelerator.num_processes, self.accelerator.process_index
        count = min(len(packer.plan(0)), self.recipe.run.validation_batches)
        # On the CPU: not every device (MPS) has float64.
        total = torch.zeros(len(LOSS_NAMES) + 1, dtype=torch.float64)
        self.plain.eval()
        with self.averaged():
            # Every process takes part in every round, as sharded layers are gathered by all.
            for number in range(rank, math.ceil(count / world) * world, world):
                shown = min(number, count - 1)
                pack = packer.pack(0, shown)
                with self._autocast():
                    losses = self.plain(
                        self._moved(pack), None, self._seeded(VALIDATION_STEP, shown)
                    )
                weight = pack.num_frames if number < count else 0
                total[:-1] += losses.cpu().double() * weight
                total[-1] += weight
        self.plain.train()
        if world > 1:
            total = self.accelerator.reduce(total.to(self.device), "sum")
        means = (total[:-1] / total[-1]).tolist()
        return dict(zip(LOSS_NAMES, means, strict=True))

    @contextlib.contextmanager
    def averaged(self) -> Iterator[None]:
        """Puts the averaged weights, where there are any, into the model for a while."""
        if self.average is None:
            yield
            return
        kept = {name: p.detach().clone() for name, p in self.trained.items()}
        self.fill(self.average)
        try:
            yield
        finally:
            self.fill(kept)

    @torch.no_grad()
    def fill(self, values: dict[str, Tensor]) -> None:
        for name, parameter in self.trained.items():
            parameter.copy_(values[name])

    def adopt(self, weights: dict[str, Tensor] | None) -> None:
        """Takes whole weights, or the averaged ones, as those to be used from now on."""
        if weights is not None:
            own = {name: placed(weights[name], p) for name, p in self.trained.items()}
            self.fill(own)
            if self.average is not None:
                self.average = {n: value.to(self.device).float() for n, value in own.items()}
        elif self.average is not None:
            self.fill(self.average)

    def weights(self, keeps: bool = True) -> dict[str, Tensor]:
        """The trained tensors, whole, as they should be used: averaged where that is wanted.

        All processes must ask; those that do not keep get empty ones.
        """
        source = self.trained if self.average is None else self.average
        return {name: whole(value, keeps).cpu().clone() for name, value in source.items()}

    def state(self, keeps: bool = True) -> dict[str, Any]:
        """Everything that a resumed run needs, whole; all processes must ask."""
        return {
            "trained": self._whole_tensors(self.trained, keeps),
            "average": self.average and self._whole_tensors(self.average, keeps),
            "optimizers": [
                gathered(optimizer, keeps) if self.is_sharded else optimizer.state_dict()
                for optimizer in self.optimizers
            ],
            "step": self.step_count,
            "cursor": [self.cursor.epoch, self.cursor.index],
            **self.bad_steps.state(),
        }

    def _whole_tensors(self, tensors: Mapping[str, Tensor], keeps: bool) -> dict[str, Tensor]:
        if not self.is_sharded:
            return {name: tensor.detach() for name, tensor in tensors.items()}
        return {name: whole(tensor, keeps).cpu() for name, tensor in tensors.items()}

    @torch.no_grad()
    def load(self, state: dict[str, Any]) -> None:
        """Goes on from a state, which any number of processes may have written."""
        for name, parameter in self.trained.items():
            parameter.copy_(placed(state["trained"][name], parameter))
            if self.average is not None:
                kept = self.average[name]
                kept.copy_(placed(state["average"][name], kept))
        for optimizer, saved in zip(self.optimizers, state["optimizers"], strict=True):
            restore(optimizer, saved)
        self.step_count = state["step"]
        self.cursor = Cursor(*state["cursor"])
        self.bad_steps.load(state)
