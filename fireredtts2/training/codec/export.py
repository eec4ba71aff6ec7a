"""The end of a run: a folder with the trained codec, which everything here can load."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fireredtts2.atomic_file import atomic_folder
from fireredtts2.checkpoint import CODEC_NAME
from fireredtts2.config import WHISPER_LARGE_V3, CodecConfig
from fireredtts2.training.codebook import rarest_entries_first
from fireredtts2.training.codec.recipe import CodecRecipe
from fireredtts2.training.codec.start import Start
from fireredtts2.training.finetune.checkpoints import save_whole
from fireredtts2.weights import SUFFIXES, write_state

CONFIG_NAME = "config_codec.json"
PREFIX = "codec."
#: Keys with a default here that the published file names all the same.
PUBLISHED_OPTIONS = frozenset(
    [
        "avg_pooler",
        "num_quantizers",
        "codebook_size",
        "codebook_dim",
        "stride",
        "hop_length",
        "causal",
    ]
)


def write_codec(
    path: Path, start: Start, recipe: CodecRecipe, weights: Mapping[str, Tensor]
) -> None:
    """Writes the result whole; an older one at `path` goes when the new one is there.

    After stage two the codes mean what they meant before, so all else of the folder that the codec
    came from goes with it: where that spoke, the result speaks. After stage one they mean something
    new, so that nothing but the codec is written.

    Args:
        path: the folder.
        start: what the run began with.
        recipe: of the run.
        weights: what was trained, by the trainer's names.
    """
    state = {**start.codec.state_dict(), **_of_codec(weights)}
    if recipe.model.stage == "one":
        state = rarest_entries_first(state)
    stored = _stored(state, start.types if recipe.model.stage == "two" else {})
    fresh = path.with_name(f"{path.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    with atomic_folder(fresh) as temporary:
        if start.folder is not None and recipe.model.stage == "two":
            _copy_others(start.folder.path, temporary)
        config = {"codec": config_values(start.codec.config)}
        text = json.dumps(config, indent=2) + "\n"
        (temporary / CONFIG_NAME).write_text(text, encoding="utf-8")
        if recipe.run.format == "pt":
            save_whole(temporary / f"{CODEC_NAME}.pt", {"generator": stored})
        else:
            write_state(temporary / f"{CODEC_NAME}.safetensors", stored)
    if path.exists():
        shutil.rmtree(path)
    fresh.rename(path)


def _of_codec(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {k.removeprefix(PREFIX): v for k, v in weights.items() if k.startswith(PREFIX)}


def _stored(state: Mapping[str, Tensor], types: Mapping[str, torch.dtype]) -> dict[str, Tensor]:
    """Tensors of their own on the CPU: keys and types as where the codec came from."""
    return {
        key: state[key].detach().to("cpu", types.get(key, state[key].dtype)).contiguous().clone()
        for key in types or state
    }


def _copy_others(source: Path, destination: Path) -> None:
    left_out = {CONFIG_NAME, *(CODEC_NAME + suffix for suffix in SUFFIXES)}
    for entry in source.iterdir():
        if entry.name.startswith(".") or entry.name in left_out:
            continue
        copy = shutil.copytree if entry.is_dir() else shutil.copyfile
        copy(entry, destination / entry.name)


def config_values(config: CodecConfig) -> dict[str, Any]:
    """Sizes as `config_codec.json` has them.

    What only we name is left out where it is as published, so that the published code reads the
    file: the semantic encoder's sizes, mel bands and the like.
    """
    values = dataclasses.asdict(config)
    if config.ssl == WHISPER_LARGE_V3:
        del values["ssl"]
    for name, part in values.items():
        for f in dataclasses.fields(getattr(config, name)):
            if f.name not in PUBLISHED_OPTIONS and part[f.name] == f.default:
                del part[f.name]
    return values
