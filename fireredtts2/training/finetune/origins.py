"""What a run goes out from, as digests: a resumed run must find the same."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path

from fireredtts2.checkpoint import CheckpointFolder
from fireredtts2.training.finetune.recipe import Recipe
from fireredtts2.training.shards import INDEX_NAME, Dataset

log = logging.getLogger(__name__)
SPLITS = ("train", "validation")
DIGITS = 16
#: Places at which a weight file is looked at, and bytes at each: other weights of the same model
#: have files of the same size, and reading all of a large one takes long.
NUM_LOOKS, LOOK_BYTES = 64, 4096

Origins = dict[str, str]


def origins(recipe: Recipe, folder: CheckpointFolder) -> Origins:
    """Digests of the base weights and of the data sets, by the recipe's key; "" of none.

    Raises:
        ValueError: no data set where the recipe says.
        OSError: a file of it is missing.
    """
    found = {
        "model.checkpoint": weights_digest(folder.llm_path(recipe.model.gen_type)),
        "data.folder": _dataset_digest(recipe.data.folder),
    }
    replay = recipe.data.replay
    return found | {"data.replay": "" if replay is None else _dataset_digest(replay)}


def check_origins(before: Mapping[str, str] | None, now: Origins, out: Path) -> None:
    """Compares what a run began with and what is there now.

    Args:
        before: from its checkpoint; None where that is of a version that did not keep it.
        now: as `origins` finds it.
        out: the run's folder, for messages.

    Raises:
        ValueError: names what has changed.
    """
    if before is None:
        log.warning(
            "%s: its checkpoint does not tell what data and weights the run began with (it is of "
            "an earlier version); those that are there now are taken for the same",
            out,
        )
        return
    for place, digest in now.items():
        if before.get(place, "") != digest:
            raise ValueError(f"{out}: {CHANGED[place]}; choose another run.out for a new run")


def may_move(before: Mapping[str, str] | None) -> tuple[str, ...]:
    """Keys of a recipe whose folders may have another name: a checkpoint knows what is in them."""
    return tuple(CHANGED) if before else ()


CHANGED = {
    "model.checkpoint": "the weights that the run began with (model.checkpoint) have changed",
    "data.folder": "the data set is not the one that the run began with (data.folder)",
    "data.replay": "the replayed data set is not the one that the run began with (data.replay)",
}


def _dataset_digest(path: str) -> str:
    """Of the index and of the names and sizes of the shards that are read."""
    dataset = Dataset.open(path)
    names = [name for split in SPLITS for name in dataset.splits.get(split, ())]
    index = (dataset.folder / INDEX_NAME).read_bytes()
    return _digest([index, *(_name_and_size(dataset.folder / name) for name in names)])


def weights_digest(path: Path) -> str:
    """Of a weight file's name, its size, and what it holds at some places."""
    step = max(1, path.stat().st_size // NUM_LOOKS)
    looks = []
    with path.open("rb") as file:
        for place in range(0, path.stat().st_size, step):
            file.seek(place)
            looks.append(file.read(LOOK_BYTES))
    return _digest([_name_and_size(path), *looks])


def _name_and_size(path: Path) -> bytes:
    return f"{path.name} {path.stat().st_size}".encode()


def _digest(parts: Iterable[bytes]) -> str:
    total = hashlib.sha256()
    for part in parts:
        total.update(len(part).to_bytes(8, "big") + part)
    return total.hexdigest()[:DIGITS]
