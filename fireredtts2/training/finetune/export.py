"""The end of a run: a folder that speaks, or an adapter's."""

from __future__ import annotations

import shutil
from pathlib import Path

import torch

from fireredtts2.adapters import ADAPTERS_FOLDER
from fireredtts2.atomic_file import atomic_folder
from fireredtts2.checkpoint import LLM_NAMES, LLM_SHARED_NAME, CheckpointFolder
from fireredtts2.llm.dual_transformer import DualTransformer
from fireredtts2.training.finetune.lora import taken
from fireredtts2.training.finetune.recipe import Recipe
from fireredtts2.weights import SUFFIXES, StateDict, read_state, write_state


def write_model(
    path: Path,
    folder: CheckpointFolder,
    recipe: Recipe,
    model: DualTransformer,
    weights: dict[str, torch.Tensor],
    step: int,
    links: bool = False,
) -> None:
    """Writes the result whole; an older one at `path` goes when the new one is there.

    Args:
        path: the adapter's folder, or that of a whole checkpoint.
        folder: what the run began with.
        recipe: the run's.
        model: the model; what is trained in it need not be whole.
        weights: the trained tensors, whole.
        step: updates done.
        links: link the checkpoint's other files in place of copying them.
    """
    fresh = path.with_name(f"{path.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    if recipe.model.method == "lora":
        base = folder.read_llm(recipe.model.gen_type)
        taken(weights, recipe, step, base).save(fresh)
    else:
        state = {**model.state_dict(), **weights}
        write_checkpoint(fresh, folder, folder.llm_path(recipe.model.gen_type), state, links)
    if path.exists():
        shutil.rmtree(path)
    fresh.rename(path)


def write_checkpoint(
    path: Path,
    folder: CheckpointFolder,
    source: Path,
    state: dict[str, torch.Tensor],
    links: bool = False,
) -> None:
    """A checkpoint folder with another language model: its keys and types as in `source`.

    Adapters stay behind: they were made for the model before.
    """
    before = read_state(source)
    filled: StateDict = {
        key: state[key].detach().to("cpu", old.dtype).contiguous().clone()
        for key, old in before.items()
    }
    names = {n + s for n in (*LLM_NAMES.values(), LLM_SHARED_NAME) for s in SUFFIXES}
    with atomic_folder(path) as temporary:
        for entry in folder.path.iterdir():
            if entry.name.startswith(".") or entry.name in (*names, ADAPTERS_FOLDER):
                continue
            if links:
                (temporary / entry.name).symlink_to(entry.resolve())
                continue
            copy = shutil.copytree if entry.is_dir() else shutil.copyfile
            copy(entry, temporary / entry.name)
        write_state(temporary / f"{source.stem}.safetensors", filled)
