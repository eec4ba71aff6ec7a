"""What a run tells: JSON lines always, TensorBoard and Weights & Biases where asked for."""

from __future__ import annotations

import json
import logging
import math
import secrets
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from fireredtts2.atomic_file import atomic_path
from fireredtts2.training.finetune.extras import load_extra
from fireredtts2.training.finetune.recipe import RunRecipe

log = logging.getLogger(__name__)
FILE, BOARD, WANDB_ID = "metrics.jsonl", "tensorboard", "wandb_id.txt"
DIGITS = 6
BEFORE_ALL = -1  # a step
FINAL = "final_"  # begins the parts that are told once, when a run ends


class Told(Protocol):
    """A recipe, of whatever is trained."""

    @property
    def run(self) -> RunRecipe: ...
    def as_dict(self) -> dict[str, Any]: ...


class Journal:
    """The main process writes; the others keep silent."""

    def __init__(self, out: Path, recipe: Told, is_main: bool) -> None:
        self.path, self.is_main = out / FILE, is_main
        self.board: Any = None
        self.wandb: Any = None
        if not is_main:
            return
        out.mkdir(parents=True, exist_ok=True)
        if recipe.run.tensorboard:
            self.board = self._new_board(None)
        if recipe.run.wandb:
            self.wandb = self._new_wandb(recipe)

    def cut(self, step: int) -> None:
        """Drops what was written after the step that a run goes on from, and about its end.

        Weights & Biases cannot drop; there, steps told before are not told again.
        """
        if self.board is not None:
            self.board.close()
            self.board = self._new_board(step + 1)
        if not (self.is_main and self.path.exists()):
            return
        lines = self.path.read_text("utf-8").splitlines()
        kept = [line for line in lines if _step(line) <= step]
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

    def write_audio(
        self, step: int, name: str, audio: np.ndarray, rate_hz: int, text: str = ""
    ) -> None:
        """A clip (samples,) float32, where there is a page to hear it on."""
        if self.board is not None:
            # (1, samples): TensorBoard wants channels.
            self.board.add_audio(name, audio[None], step, sample_rate=rate_hz)
            self.board.add_text(name, text, step)
        if self.wandb is not None:
            clip = load_extra("wandb").Audio(audio, sample_rate=rate_hz, caption=text)
            self.wandb.log({name: clip}, step=step)

    def close(self) -> None:
        if self.board is not None:
            self.board.close()
        if self.wandb is not None:
            self.wandb.finish()

    def _new_board(self, purge_step: int | None) -> Any:
        """TensorBoard hides what was written at that step and later."""
        tensorboard = load_extra("torch.utils.tensorboard")
        return tensorboard.SummaryWriter(str(self.path.parent / BOARD), purge_step=purge_step)

    def _new_wandb(self, recipe: Told) -> Any:
        """The same run again where this one was begun before."""
        wandb = load_extra("wandb")
        file = self.path.parent / WANDB_ID
        if not file.exists():
            file.write_text(secrets.token_hex(4), encoding="utf-8")
        return wandb.init(
            project="fireredtts2",
            dir=str(self.path.parent),
            config=recipe.as_dict(),
            id=file.read_text(encoding="utf-8"),
            resume="allow",
        )


def _step(line: str) -> float:
    """A line's step; one that a killed run cut short, or of the end, is beyond every step."""
    try:
        told = json.loads(line)
        return math.inf if told["part"].startswith(FINAL) else told["step"]
    except (json.JSONDecodeError, KeyError, TypeError):
        return math.inf
