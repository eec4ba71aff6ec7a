"""A codec recipe: YAML in, frozen configs out; every fault is named with its place."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from fireredtts2.config import CodecConfig
from fireredtts2.training.codec.recipe_checks import check
from fireredtts2.training.codec.recipe_sections import (
    CodecRunRecipe,
    DataRecipe,
    LossRecipe,
    ModelRecipe,
    OptimRecipe,
)
from fireredtts2.training.precision import resolve_precision
from fireredtts2.training.recipe_reading import build, read_as


@dataclass(frozen=True)
class CodecRecipe:
    """A whole run of `fireredtts2 train-codec`.

    Attributes:
        codec: sizes as in `config_codec.json`, for a new codec. With `model.start` the sizes are
            the start's; these then serve `--estimate` where there is no such folder yet.
    """

    model: ModelRecipe
    data: DataRecipe
    run: CodecRunRecipe
    codec: Mapping[str, Any] | None = None
    loss: LossRecipe = field(default_factory=LossRecipe)
    optim: OptimRecipe = field(default_factory=OptimRecipe)

    def __post_init__(self) -> None:
        check(self)

    def as_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)

    @property
    def codec_config(self) -> CodecConfig | None:
        """The sizes that the recipe itself names."""
        return None if self.codec is None else CodecConfig.from_dict(self.codec)

    def precision_on(self, device: torch.device) -> torch.dtype | None:
        """What layers compute in on a device; None is float32."""
        return resolve_precision(self.optim.precision, device)


def read_recipe(path: str | Path, changes: Sequence[str] = ()) -> CodecRecipe:
    """Reads a recipe; arguments and errors as for `recipe_reading.read_as`."""
    return read_as(CodecRecipe, path, changes)


def recipe_from(values: Mapping[str, Any]) -> CodecRecipe:
    """A recipe from plain values."""
    return build(CodecRecipe, values)
