"""What the trainer knows of a stage."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor, nn

from fireredtts2.training.codec.quantization import Uses

#: The phase before there is quantization.
NOISE = "noise"


@dataclass(frozen=True)
class StepLosses:
    """One batch forward.

    Attributes:
        parts: weighted scalars by name; their sum is minimised.
        made: (B, samples) with gradients, None where the stage makes no sound.
        real: (B, samples), what it should have been.
        uses: of the codebooks, None where they do not learn.
    """

    parts: dict[str, Tensor]
    made: Tensor | None = None
    real: Tensor | None = None
    uses: Uses | None = None


@dataclass(frozen=True)
class Judged:
    """One held-out batch: figures by name, "mel" among them, the rows it has, and its sound."""

    values: dict[str, float]
    num_rows: int
    made: Tensor | None = None
    real: Tensor | None = None


class Stage(Protocol):
    """A codec with what it needs to be trained, and the batches it learns from."""

    #: What the optimizer moves, by name.
    trained: dict[str, nn.Parameter]
    #: What moves by itself.
    buffers: dict[str, Tensor]

    @property
    def rate_hz(self) -> int:
        """Of the sound that it makes."""
        ...

    @property
    def samples_per_frame(self) -> int:
        """Of that sound, in 80 ms."""
        ...

    def prepare(self, step: int) -> bool:
        """Does what is due before a step; tells whether weights were set anew."""
        ...

    def losses(self, number: int, step: int, generator: torch.Generator, exact: bool) -> StepLosses:
        """Batch `number` forward; `exact`: the sound in float32, for discriminators."""
        ...

    def learn(self, uses: list[Uses], generator: torch.Generator) -> None:
        """What a good step changes besides the optimizer's."""
        ...

    @property
    def num_judged(self) -> int:
        """Held-out batches that there are."""
        ...

    def judge(self, number: int) -> Judged:
        """Held-out batch `number`, without gradients."""
        ...

    @property
    def phase(self) -> str:
        """Figures of different phases are not compared."""
        ...

    def state(self) -> dict[str, bool]: ...
    def load(self, state: dict[str, bool]) -> None: ...


def trained_of(modules: Mapping[str, nn.Module]) -> dict[str, nn.Parameter]:
    """The parameters that are not frozen, by the module's name and their own."""
    return {
        f"{name}.{key}": parameter
        for name, module in modules.items()
        for key, parameter in module.named_parameters()
        if parameter.requires_grad
    }
