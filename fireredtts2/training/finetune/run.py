"""A whole run: from a recipe to a model or an adapter, resumed where it was cut."""

from __future__ import annotations

import logging
import os
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from fireredtts2.checkpoint import CheckpointFolder
from fireredtts2.llm.dual_transformer import DualTransformer
from fireredtts2.training.finetune import lora
from fireredtts2.training.finetune.checkpoints import (
    CHECKPOINTS,
    CheckpointStore,
    known_best,
    save_whole,
)
from fireredtts2.training.finetune.export import write_model
from fireredtts2.training.finetune.extras import load_extra
from fireredtts2.training.finetune.journal import BEFORE_ALL, FINAL, Journal
from fireredtts2.training.finetune.material import TextReader, open_material
from fireredtts2.training.finetune.origins import check_origins, may_move, origins, weights_digest
from fireredtts2.training.finetune.packing import VALIDATION, Packer
from fireredtts2.training.finetune.recipe import Recipe
from fireredtts2.training.finetune.samples import Samples, SampleSpeaker, sample_lines
from fireredtts2.training.finetune.sharding import wants_shards
from fireredtts2.training.finetune.trainer import Trainer
from fireredtts2.training.recipe_reading import check_same
from fireredtts2.weights import build_empty, load_into

log = logging.getLogger(__name__)
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}
BEST_FILE = "best.pt"
NO_BEST = {"loss": None, "step": 0, "stale": 0}
#: Sections, or single keys, that a resumed run must not change.
FIXED = ("model", "lora", "data", "optim.optimizer", "optim.batches_per_step", "optim.ema_decay",
         "run.seed")  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What a run came to.

    Attributes:
        path: the model's or adapter's folder.
        step: updates done.
        used_step: the update whose weights were taken: the best in validation.
        validation: the loss at the beginning and of what was taken, where there is a validation.
        replay: the same on the replayed data set.
        num_skipped: steps that were skipped.
    """

    path: Path
    step: int
    used_step: int
    validation: tuple[float, float] | None
    replay: tuple[float, float] | None
    num_skipped: int


class Run:
    """A recipe being carried out."""

    def __init__(
        self, recipe: Recipe, resume: bool = False, speaker: SampleSpeaker | None = None
    ) -> None:
        accelerate = load_extra("accelerate")
        self.recipe = recipe
        if recipe.run.num_threads:
            torch.set_num_threads(recipe.run.num_threads)
        # NOTE: accelerate would see no other process where it may choose and finds no accelerator.
        on_cpu = recipe.run.device == "cpu" or not torch.accelerator.is_available()
        self.accelerator = accelerate.Accelerator(cpu=on_cpu)
        check_processes(self.accelerator, recipe)
        self.out = Path(recipe.run.out)
        self.store = CheckpointStore.of_run(self.out, recipe.run.keep_checkpoints, resume)
        self.folder = CheckpointFolder(recipe.model.checkpoint)
        self.model = load_model(self.folder, recipe)
        self.trainer, self.judges = self._prepared()
        self.origins = origins(recipe, self.folder)
        self.best: dict[str, Any] = dict(NO_BEST)
        self.first: dict[str, float] = {}
        self.is_fresh = True
        self.journal = Journal(self.out, recipe, self.accelerator.is_main_process)
        self.samples = self._new_samples(speaker)
        if resume:
            self._resume()
            self._check_together()

    def _prepared(self) -> tuple[Trainer, dict[str, Packer]]:
        recipe, reader = self.recipe, TextReader(self.folder)
        splits = ("train", "validation")
        own = open_material(recipe.data.folder, splits, self.folder, reader)
        sources, judged = [own["train"]], {"validation": own.get("validation")}
        if recipe.data.replay is not None:
            replayed = open_material(recipe.data.replay, splits, self.folder, reader)
            sources.append(replayed["train"])
            judged["replay"] = replayed.get("validation")
        is_monologue = recipe.model.gen_type == "monologue"
        seed = recipe.run.seed
        packer = Packer(sources, recipe.data, seed, is_monologue)
        if packer.num_too_long:
            log.warning(
                "%d clips or turns are longer than data.rows_per_batch and left out",
                packer.num_too_long,
            )
        judges = {
            name: Packer([material], recipe.data, seed, is_monologue, VALIDATION)
            for name, material in judged.items()
            if material is not None and len(material)
        }
        return Trainer(self.model, packer, recipe, self.accelerator), judges

    def _new_samples(self, speaker: SampleSpeaker | None) -> Samples | None:
        judge = self.judges.get("validation")
        lines = sample_lines(judge.materials[0] if judge else None, self.recipe)
        if not lines or speaker is None:
            return None
        return Samples(self.recipe, lines, speaker, self.journal)

    def _resume(self) -> None:
        state = self.store.load_newest()
        if state is None:
            log.warning("%s: no checkpoint to resume from; starting anew", self.out)
            return
        check_same(state["recipe"], self.recipe.as_dict(), FIXED, may_move(state.get("origins")))
        check_origins(state.get("origins"), self.origins, self.out)
        self.trainer.load(state["trainer"])
        self.is_fresh = False
        self.best = known_best(self.out / BEST_FILE, state["best"], NO_BEST)
        self.first = state["first"]
        before, now = state["recipe"]["optim"]["total_steps"], self.recipe.optim.total_steps
        if before != now:
            log.warning("optim.total_steps: %d in the run so far, %d from now on", before, now)

    def _check_together(self) -> None:
        """Raises ValueError where processes resume from different steps."""
        own = torch.tensor([self.trainer.step_count], device=self.accelerator.device)
        steps = self.accelerator.gather(own).tolist()
        if len(set(steps)) > 1:
            raise ValueError(
                f"{self.out}: the processes found checkpoints of steps {steps}; run.out must be "
                "one folder that all of them share"
            )

    def carry_out(self) -> Outcome:
        """Steps to the end, or until validation no longer improves; writes the result.

        Raises:
            TrainingDivergedError: too many steps were not finite.
            ValueError: another run is going on in this folder.
            OSError: the disk is full; the last checkpoint is as it was.
        """
        with self.store.held() if self._is_main else nullcontext():
            return self._carried_out()

    def _carried_out(self) -> Outcome:
        recipe, trainer = self.recipe, self.trainer
        self.journal.cut(BEFORE_ALL if self.is_fresh else trainer.step_count)
        if self.is_fresh:
            self._validate()
            self._speak(validates=True)
            self._save()
        while trainer.step_count < recipe.optim.total_steps and not self._is_stale:
            values = trainer.step()
            step, is_last = trainer.step_count, trainer.step_count == recipe.optim.total_steps
            if step % recipe.run.log_every == 0 or is_last or values["skipped"]:
                self.journal.write(step, "train", values)
            validates = step % recipe.run.validate_every == 0 or is_last
            if validates:
                self._validate()
            self._speak(validates)
            if step % recipe.run.save_every == 0 or is_last or self._is_stale:
                self._save()
        return self._finish()

    @property
    def _is_main(self) -> bool:
        return bool(self.accelerator.is_main_process)

    @property
    def _is_stale(self) -> bool:
        patience = self.recipe.run.patience
        return patience > 0 and self.best["stale"] >= patience

    def _validate(self) -> None:
        step = self.trainer.step_count
        for name, packer in self.judges.items():
            values = self.trainer.validate(packer)
            self.journal.write(step, name, values)
            self.first.setdefault(name, values["loss"])
            if name == "validation":
                self._compare(values["loss"], step)

    def _speak(self, validates: bool) -> None:
        """Samples, where they are due: spoken by the main process while the others wait."""
        step = self.trainer.step_count
        if self.samples is None or not self.samples.is_due(step, validates):
            return
        weights = self.trainer.weights(keeps=self._is_main)
        if self._is_main:
            wanted = self.recipe.samples.device
            device = "cpu" if wanted == "cpu" else str(self.accelerator.device)
            self.samples.speak(step, device, self.folder, self.model, weights)
        self.accelerator.wait_for_everyone()

    def _compare(self, loss: float, step: int) -> None:
        """Remembers the weights where they are the best so far."""
        known = self.best["loss"]
        if known is not None and not loss < known:
            self.best["stale"] += 1
            return
        self.best = {"loss": loss, "step": step, "stale": 0}
        weights = self.trainer.weights(keeps=self._is_main)
        if self._is_main:
            self.out.mkdir(parents=True, exist_ok=True)
            save_whole(self.out / BEST_FILE, {"weights": weights, "step": step})

    def _save(self) -> None:
        state = {
            "recipe": self.recipe.as_dict(),
            "origins": self.origins,
            "trainer": self.trainer.state(keeps=self._is_main),
            "best": self.best,
            "first": self.first,
        }
        if self._is_main:
            self.store.save(self.trainer.step_count, state)
        self.accelerator.wait_for_everyone()

    def _finish(self) -> Outcome:
        best, used = None, self.trainer.step_count
        if self.best["loss"] is not None:
            self.accelerator.wait_for_everyone()
            saved = torch.load(self.out / BEST_FILE, map_location="cpu", weights_only=True)
            best, used = saved["weights"], saved["step"]
        self.trainer.adopt(best)
        last = {name: self._last_loss(name) for name in self.judges}
        is_lora = self.recipe.model.method == "lora"
        path = self.out / ("adapter" if is_lora else "model")
        weights = self.trainer.weights(keeps=self._is_main)
        if self._is_main:
            write_model(path, self.folder, self.recipe, self.model, weights, used)
        self.accelerator.wait_for_everyone()
        self.journal.close()
        return Outcome(
            path=path,
            step=self.trainer.step_count,
            used_step=used,
            validation=self._change("validation", last),
            replay=self._change("replay", last),
            num_skipped=self.trainer.bad_steps.total,
        )

    def _last_loss(self, name: str) -> float:
        values = self.trainer.validate(self.judges[name])
        self.journal.write(self.trainer.step_count, f"{FINAL}{name}", values)
        return values["loss"]

    def _change(self, name: str, last: dict[str, float]) -> tuple[float, float] | None:
        return (self.first[name], last[name]) if name in last and name in self.first else None


def take(recipe: Recipe, step: int) -> Path:
    """Writes what a run had learnt at a step of which there is a checkpoint: `run.out`/step_N.

    What stands there, from the same step, is replaced.

    Raises:
        ValueError: there is no such checkpoint, or it is of another model.
    """
    out, folder = Path(recipe.run.out), CheckpointFolder(recipe.model.checkpoint)
    state = CheckpointStore(out / CHECKPOINTS, recipe.run.keep_checkpoints).load(step)
    fixed = ("model", "lora")
    check_same(state["recipe"], recipe.as_dict(), fixed, may_move(state.get("origins")))
    now = {"model.checkpoint": weights_digest(folder.llm_path(recipe.model.gen_type))}
    check_origins(state.get("origins"), now, out)
    trainer = state["trainer"]
    path = out / f"step_{step}"
    weights = trainer["average"] or trainer["trained"]
    write_model(path, folder, recipe, load_model(folder, recipe), weights, step)
    return path


def load_model(folder: CheckpointFolder, recipe: Recipe) -> DualTransformer:
    """The language model with its adapters, ready to be trained.

    A checkpoint without a text head, which speaking does without, gets one of zeros that stays so:
    its loss is then a constant.
    """
    gen_type, dtype = recipe.model.gen_type, DTYPES[recipe.model.weights]
    path = folder.llm_path(gen_type)
    model = build_empty(lambda: DualTransformer(folder.llm_config).to(dtype))
    absent = load_into(model, folder.read_llm(gen_type), path, ["text_head.*"])
    if recipe.model.method == "lora":
        lora.inject(model, recipe)
    else:
        model.requires_grad_(True)
    if absent:
        model.text_head.requires_grad_(False)
        torch.nn.init.zeros_(model.text_head.weight)
    return model.train()


def check_processes(accelerator: Any, recipe: Recipe) -> None:
    """Raises ValueError where the work cannot be shared among the processes as asked."""
    wants_shards(accelerator, recipe)  # raises where accelerate is set up for something else
    batches, world = recipe.optim.batches_per_step, accelerator.num_processes
    launched = int(os.environ.get("WORLD_SIZE", "1"))
    if launched != world:
        raise ValueError(
            f"{launched} processes were launched, and accelerate has joined {world} of them; run "
            "one here, or give run.device: cpu"
        )
    if batches % world:
        raise ValueError(
            f"optim.batches_per_step: {batches} cannot be shared by {world} processes evenly; "
            f"choose a multiple of {world}"
        )
