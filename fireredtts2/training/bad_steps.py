"""Steps that were not finite: counted, and too many in a row end a run."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

#: In a row, where a run has no setting of its own.
MAX_BAD_STEPS = 10


class TrainingDivergedError(RuntimeError):
    """Too many steps in a row had a loss or gradient that is not finite."""


class BadSteps:
    """Counts the steps of a run that were skipped.

    Args:
        most_in_a_row: so many end the run.
        material: what may be damaged, in words.
    """

    def __init__(self, most_in_a_row: int, material: str) -> None:
        self.most_in_a_row, self.material = most_in_a_row, material
        self.in_a_row = 0
        self.total = 0

    def count(self, step: int, is_good: bool) -> None:
        """Notes how step number `step` went.

        Raises:
            TrainingDivergedError: it was one too many.
        """
        self.in_a_row = 0 if is_good else self.in_a_row + 1
        self.total += not is_good
        if self.in_a_row >= self.most_in_a_row:
            raise TrainingDivergedError(
                f"step {step}: a loss or gradient was not finite in {self.in_a_row} steps in a "
                "row, which were all skipped; the weights are those before them. Lower "
                f"the learning rate, or look for damaged {self.material}"
            )

    def state(self) -> dict[str, int]:
        return {"bad_steps": self.in_a_row, "num_skipped": self.total}

    def load(self, state: dict[str, int]) -> None:
        """Goes on from what `state` gave, among other things."""
        self.in_a_row, self.total = state["bad_steps"], state["num_skipped"]


def step_if_finite(
    loss: Tensor, optimizer: torch.optim.Optimizer, parameters: Sequence[Tensor], max_norm: float
) -> bool:
    """A step down a loss; none where it or a gradient is not finite, which would spoil all weights.

    Args:
        loss: a scalar.
        optimizer: of the parameters; old gradients are dropped.
        parameters: whose gradients are clipped together.
        max_norm: of all gradients.

    Returns:
        Whether the step was taken.
    """
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    norm = nn.utils.clip_grad_norm_(parameters, max_norm)
    # NOTE: an absolute value's gradient at NaN is 0: the loss must be looked at as well.
    is_good = bool((loss.detach() + norm).isfinite())
    if is_good:
        optimizer.step()
    return is_good
