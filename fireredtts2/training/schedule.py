"""Learning-rate schedules."""

from __future__ import annotations

import math

FINAL_SHARE = 0.1
COOLDOWN_SHARE = 0.35


def learning_rate(step: int, peak: float, warmup_steps: int, total_steps: int) -> float:
    """Linear warm-up, then a cosine down to a tenth: the rate of update `step`, counted from 0."""
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    progress = min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps))
    return peak * (FINAL_SHARE + (1 - FINAL_SHARE) * (1 + math.cos(math.pi * progress)) / 2)


def trapezoid(
    step: int, warmup_steps: int, total_steps: int, cooldown_share: float = COOLDOWN_SHARE
) -> float:
    """The factor of update `step`: warm-up, constant, then linear to zero over the last share.

    Unlike a cosine it does not depend on the end of the run before the fall begins, so a run's
    length can be settled while it goes.
    """
    # A rise or a fall of no steps is none.
    cooldown = max(1.0, cooldown_share * total_steps)
    return min(1.0, (step + 1) / max(1, warmup_steps), max(0.0, (total_steps - step) / cooldown))


def rate_share(kind: str, step: int, warmup_steps: int, total_steps: int) -> float:
    """The share of its highest rate that update `step`, counted from 0, uses.

    Args:
        kind: "cosine", "trapezoid" or "constant".
        step: the update.
        warmup_steps: updates of the rise.
        total_steps: of the run.
    """
    warmup = max(1, warmup_steps)
    if kind == "cosine":
        return learning_rate(step, 1.0, warmup, total_steps)
    if kind == "trapezoid":
        return trapezoid(step, warmup, total_steps)
    return min(1.0, (step + 1) / warmup)
