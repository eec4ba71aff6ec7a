"""Whether a returned turn is empty or ran away, judged from its audio and text alone."""

from __future__ import annotations

from typing import Literal

import numpy as np

Fault = Literal["empty", "runaway"]

MIN_TURN_S = 0.24  # three frames; no word is shorter
SILENCE_PEAK = 10 ** (-50 / 20)  # -50 dBFS
# The slowest easy speech is about 8 characters a second; digits stand for longer words.
RUNAWAY_BASE_S = 3.0
RUNAWAY_S_PER_CHAR = 0.2


def turn_fault(text: str, audio: np.ndarray, rate_hz: int) -> Fault | None:
    """Names the fault of a turn's audio (samples,), None where it has none."""
    seconds = len(audio) / rate_hz
    if seconds < MIN_TURN_S or float(np.abs(audio).max()) < SILENCE_PEAK:
        return "empty"
    if seconds > RUNAWAY_BASE_S + RUNAWAY_S_PER_CHAR * len(text):
        return "runaway"
    return None
