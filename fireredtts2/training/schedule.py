"""Learning-rate schedule: linear warm-up, then a cosine down to a tenth."""

from __future__ import annotations

import math

FINAL_SHARE = 0.1


def learning_rate(step: int, peak: float, warmup_steps: int, total_steps: int) -> float:
    """The rate of update `step`, counted from 0."""
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    progress = min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps))
    return peak * (FINAL_SHARE + (1 - FINAL_SHARE) * (1 + math.cos(math.pi * progress)) / 2)
