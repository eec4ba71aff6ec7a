"""What a run tells: JSON lines always, TensorBoard and Weights & Biases where asked for."""

from __future__ import annotations

import json
import logging
import math
from pathlib import Path
from typing import Any

from fireredtts2.atomic_file import atomic_path
from fireredtts2.training.finetune.extras import load_extra
from fireredtts2.training.finetune.recipe import Recipe

log = logging.getLogger(__name__)
FILE = "metrics.jsonl"
DIGITS = 6


class Journal:
    """The main process writes; the others keep silent."""

    def __init__(self, out: Path, recipe: Recipe, is_main: bool) -> None:
        self.path, self.is_main = out / FILE, is_main
        self.board: Any = None
        self.wandb: Any = None
        if not is_main:
            return
        out.mkdir(parents=True, exist_ok=True)
        if recipe.run.tensorboard:
            tensorboard = load_extra("torch.utils.tensorboard")
            self.board = tensorboard.SummaryWriter(str(out / "tensorboard"))
        if recipe.run.wandb:
            self.wandb = load_extra("wandb").init(
                project="fireredtts2", dir=str(out), config=recipe.as_dict(), resume="allow"
            )

    def cut(self, step: int) -> None:
        """Drops what was written after the step that a run goes on from."""
        if not (self.is_main and self.path.exists()):
            return
        kept = [line for line in self.path.read_text("utf-8").splitlines() if _step(line) <= step]
        with atomic_path(self.path) as temporary:
            temporary.write_text("".join(line + "\n" for line in kept), encoding="utf-8")

    def write(self, step: int, part: str, values: dict[str, float]) -> None:
        """One line: the step, what it is about, and its numbers."""
        if not self.is_main:
            return
        # NaN is no JSON.
        finite = {k: round(v, DIGITS) if math.isfinite(v) else None for k, v in values.items()}
        line = json.dumps({"step": step, "part": part, **finite})
        log.info(line)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(line + "\n")
        named = {f"{part}/{name}": value for name, value in values.items()}
        if self.board is not None:
            for name, value in named.items():
                self.board.add_scalar(name, value, step)
        if self.wandb is not None:
            self.wandb.log(named, step=step)

    def close(self) -> None:
        if self.board is not None:
            self.board.close()
        if self.wandb is not None:
            self.wandb.finish()


def _step(line: str) -> float:
    """A line's step; one that a killed run cut short is beyond every step."""
    try:
        return json.loads(line)["step"]
    except (json.JSONDecodeError, KeyError, TypeError):
        return math.inf
