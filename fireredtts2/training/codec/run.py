"""A whole run: from a recipe to a codec, resumed where it was cut."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fireredtts2.training.codec.export import write_codec
from fireredtts2.training.codec.heard import write_samples
from fireredtts2.training.codec.recipe import CodecRecipe
from fireredtts2.training.codec.recipe_sections import DataRecipe
from fireredtts2.training.codec.sounds import open_sounds
from fireredtts2.training.codec.stage import Stage
from fireredtts2.training.codec.stage_one import EncoderStage
from fireredtts2.training.codec.stage_two import DecoderStage
from fireredtts2.training.codec.start import fingerprint, frozen, open_start
from fireredtts2.training.codec.trainer import CodecTrainer
from fireredtts2.training.finetune.checkpoints import CheckpointStore, known_best, save_whole
from fireredtts2.training.finetune.journal import BEFORE_ALL, FINAL, Journal
from fireredtts2.training.prepare.recordings import DIGEST_KIND
from fireredtts2.training.recipe_reading import check_same

log = logging.getLogger(__name__)
BEST_FILE = "best.pt"
NO_BEST = {"loss": None, "step": 0, "stale": 0, "phase": ""}
RESULT_FOLDER = "codec"
JUDGED_BY = "mel"
#: Of the data only what changes no result may be changed.
FIXED_DATA = tuple(f"data.{field.name}" for field in fields(DataRecipe) if field.name != "workers")
#: Sections, or single keys, that a resumed run must not change.
FIXED = ("model", "codec", *FIXED_DATA, "loss", "optim.batches_per_step", "optim.ema_decay",
         "run.seed")  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What a run came to.

    Attributes:
        path: the codec's folder.
        step: updates done.
        used_step: the update whose weights were taken.
        validation: the mel distance at the beginning and of what was taken, where clips are held
            out.
        num_skipped: steps that were skipped.
        sounds: what there was to learn from, in words.
    """

    path: Path
    step: int
    used_step: int
    validation: tuple[float, float] | None
    num_skipped: int
    sounds: str


class CodecRun:
    """A recipe being carried out."""

    def __init__(self, recipe: CodecRecipe, resume: bool = False) -> None:
        check_processes()
        self.recipe = recipe
        if recipe.run.num_threads:
            torch.set_num_threads(recipe.run.num_threads)
        self.device = choose_device(recipe)
        self.out = Path(recipe.run.out)
        self.store = CheckpointStore.of_run(self.out, recipe.run.keep_checkpoints, resume)
        self.start = open_start(recipe)
        self.sounds = open_sounds(recipe.data, self.out)
        log.info("%s", self.sounds.summary)
        kind = EncoderStage if recipe.model.stage == "one" else DecoderStage
        self.stage: Stage = kind(self.start.codec, recipe, self.sounds, self.device)
        self.frozen_id = fingerprint(frozen(self.start.codec))
        self.trainer = CodecTrainer(self.stage, recipe, self.device)
        self.best: dict[str, Any] = dict(NO_BEST)
        self.first: float | None = None
        self.num_validations = 0
        self.is_fresh = True
        self.journal = Journal(self.out, recipe, is_main=True)
        if resume:
            self._resume()

    def _resume(self) -> None:
        state = self.store.load_newest()
        if state is None:
            log.warning("%s: no checkpoint to resume from; starting anew", self.out)
            return
        check_same(state["recipe"], self.recipe.as_dict(), FIXED)
        same = {"frozen": self.frozen_id}
        if state["sounds"].startswith(DIGEST_KIND):
            same = {"sounds": self.sounds.digest, **same}
        else:
            log.warning(
                "%s: its checkpoint does not tell what is in the sounds that the run began with "
                "(it is of an earlier version); those that are there now are taken for the same",
                self.out,
            )
        for name, now in same.items():
            if state[name] != now:
                raise ValueError(f"{self.out}: {CHANGED[name]}; choose another run.out")
        self.trainer.load(state["trainer"])
        self.is_fresh = False
        self.best = known_best(self.out / BEST_FILE, state["best"], NO_BEST)
        self.first = state["first"]
        self.num_validations = state["num_validations"]

    def carry_out(self) -> Outcome:
        """Steps to the end, or until validation no longer improves; writes the result.

        Raises:
            TrainingDivergedError: too many steps were not finite.
            ValueError: another run is going on in this folder.
            OSError: the disk is full; the last checkpoint is as it was.
        """
        with self.store.held():
            return self._carried_out()

    def _carried_out(self) -> Outcome:
        recipe, trainer = self.recipe, self.trainer
        self.journal.cut(BEFORE_ALL if self.is_fresh else trainer.step_count)
        if self.is_fresh:
            self._validate()
            self._save()
        while trainer.step_count < recipe.optim.total_steps and not self._is_stale:
            values = trainer.step()
            step, is_last = trainer.step_count, trainer.step_count == recipe.optim.total_steps
            if step % recipe.run.log_every == 0 or is_last or values["skipped"]:
                self.journal.write(step, "train", values)
            if step % recipe.run.validate_every == 0 or is_last:
                self._validate()
            if step % recipe.run.save_every == 0 or is_last or self._is_stale:
                self._save()
        return self._finish()

    @property
    def _is_stale(self) -> bool:
        patience = self.recipe.run.patience
        is_enough = patience > 0 and self.best["stale"] >= patience
        return is_enough and self.trainer.is_in_last_phase

    # --- Validation ---------------------------------------------------------------------------

    def _validate(self) -> None:
        is_heard = self.num_validations % self.recipe.run.samples_every == 0
        self.num_validations += 1
        step = self.trainer.step_count
        values = self._judged(step, self.recipe.run.num_samples if is_heard else 0)
        if values is None:
            return
        self.journal.write(step, "validation", values)
        if self.first is None:
            self.first = values[JUDGED_BY]
        self._compare(values[JUDGED_BY], step)

    def _judged(self, step: int, num_samples: int) -> dict[str, float] | None:
        """Mean figures over the held-out batches; writes what can be heard of some."""
        count = min(self.stage.num_judged, self.recipe.run.validation_batches)
        if not count:
            return None
        totals: dict[str, float] = {}
        made: list[Tensor] = []
        real: list[Tensor] = []
        num_rows = 0
        with self.trainer.averaged():
            for number in range(count):
                judged = self.stage.judge(number)
                num_rows += judged.num_rows
                for name, value in judged.values.items():
                    totals[name] = totals.get(name, 0.0) + value * judged.num_rows
                if judged.made is not None and judged.real is not None and len(made) < num_samples:
                    made.extend(judged.made.unbind(0))
                    real.extend(judged.real.unbind(0))
        rate_hz = self.stage.rate_hz
        write_samples(self.out, step, rate_hz, made[:num_samples], real[:num_samples])
        return {name: total / num_rows for name, total in totals.items()}

    def _compare(self, loss: float, step: int) -> None:
        """Remembers the weights where they are the best of their phase so far."""
        known = self.best["loss"] if self.best["phase"] == self.trainer.phase else None
        if known is not None and not loss < known:
            self.best["stale"] += 1
            return
        self.best = {"loss": loss, "step": step, "stale": 0, "phase": self.trainer.phase}
        save_whole(self.out / BEST_FILE, {"weights": self.trainer.weights(), "step": step})

    # --- Files --------------------------------------------------------------------------------

    def _save(self) -> None:
        state = {
            "recipe": self.recipe.as_dict(),
            "sounds": self.sounds.digest,
            "frozen": self.frozen_id,
            "trainer": self.trainer.state(),
            "best": self.best,
            "first": self.first,
            "num_validations": self.num_validations,
        }
        self.store.save(self.trainer.step_count, state)

    def _finish(self) -> Outcome:
        weights, used = self.trainer.weights(), self.trainer.step_count
        if self.recipe.run.take == "best" and self.best["phase"] == self.trainer.phase:
            saved = torch.load(self.out / BEST_FILE, map_location="cpu", weights_only=True)
            weights, used = saved["weights"], saved["step"]
        if self.trainer.average is not None:
            self.trainer.average = {k: v.to(self.device) for k, v in weights.items()}
        self.trainer.fill(weights)
        last = self._judged(used, self.recipe.run.num_samples)
        if last is not None:
            self.journal.write(self.trainer.step_count, f"{FINAL}validation", last)
        path = self.out / RESULT_FOLDER
        write_codec(path, self.start, self.recipe, weights)
        self.journal.close()
        change = None if last is None or self.first is None else (self.first, last[JUDGED_BY])
        return Outcome(
            path=path,
            step=self.trainer.step_count,
            used_step=used,
            validation=change,
            num_skipped=self.trainer.bad_steps.total,
            sounds=self.sounds.summary,
        )


CHANGED = {
    "sounds": "the sounds are not those that the run began with",
    "frozen": "the codec that the run began with (model.start, model.semantic) has changed",
}


def choose_device(recipe: CodecRecipe) -> torch.device:
    """A GPU where there is one and the recipe does not say otherwise."""
    has_gpu = recipe.run.device == "auto" and torch.cuda.is_available()
    return torch.device("cuda" if has_gpu else "cpu")


def check_processes() -> None:
    """Raises ValueError where this is one of several processes: codebooks learn in one alone."""
    world = os.environ.get("WORLD_SIZE", "1")
    if world not in ("", "1"):
        raise ValueError(
            f"WORLD_SIZE is {world}: train-codec runs in one process, on one device; for larger "
            "batches set optim.batches_per_step"
        )
