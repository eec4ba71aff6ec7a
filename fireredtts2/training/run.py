"""The loop of every training run: steps until enough, a log line now and then, saved on the way."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import torch

from fireredtts2.atomic_file import atomic_path

log = logging.getLogger(__name__)


class Trainer(Protocol):
    """What is trained, and where it stands."""

    step_count: int

    def state(self) -> dict[str, Any]:
        """Everything that a resumed run needs, for `torch.save`."""
        ...


class RunLimits(Protocol):
    """When a run ends and how often it is saved."""

    @property
    def total_steps(self) -> int: ...
    @property
    def max_seconds(self) -> float: ...
    @property
    def save_every(self) -> int: ...


def run(
    trainer: Trainer,
    step: Callable[[], dict[str, float]],
    limits: RunLimits,
    out: Path,
    log_every: int = 20,
) -> None:
    """Steps until `total_steps` or `max_seconds`; saves to `out` on the way and at the end."""
    began = time.time()
    while trainer.step_count < limits.total_steps and time.time() - began < limits.max_seconds:
        losses = step()
        if trainer.step_count % log_every == 0:
            row = {"step": trainer.step_count, "seconds": round(time.time() - began)}
            log.info(json.dumps(row | {name: round(value, 4) for name, value in losses.items()}))
        if trainer.step_count % limits.save_every == 0:
            save(trainer, out)
    save(trainer, out)


def save(trainer: Trainer, out: Path) -> None:
    """Writes the state whole or not at all."""
    with atomic_path(out) as temporary:
        torch.save(trainer.state(), temporary)
