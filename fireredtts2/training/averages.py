"""Running averages of weights, which are what ships."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor


def average_decay(decay: float, step: int) -> float:
    """The decay of a running average of weights at update `step`: less at first, to forget them."""
    return min(decay, (step + 1) / (step + 10))


@torch.no_grad()
def follow(average: Mapping[str, Tensor], values: Mapping[str, Tensor], decay: float) -> None:
    """Moves averages, in place, towards values; what is no number (a flag) is taken over."""
    for name, kept in average.items():
        if kept.is_floating_point():
            kept.lerp_(values[name].detach().to(kept.dtype), 1 - decay)
        else:
            kept.copy_(values[name])
