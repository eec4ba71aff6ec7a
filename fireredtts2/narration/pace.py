"""How long a text may take to say: a model that babbles or skips is caught by it."""

from __future__ import annotations

import math
from dataclasses import dataclass

SLACK_FRAMES = 25  # two seconds: breath, pauses, an "um"


@dataclass(frozen=True)
class Pace:
    """Frames for each unit (character or sound) of a text as the model reads it.

    Attributes:
        max_frames_per_unit: speech slower than this has run away; None for no such limit.
        min_frames_per_unit: speech faster than this has lost words; None for no such limit.
    """

    max_frames_per_unit: float | None = None
    min_frames_per_unit: float | None = None

    def max_frames(self, text: str, limit: int) -> int:
        """The most frames that a text may take, and never more than `limit`."""
        if self.max_frames_per_unit is None:
            return limit
        return min(limit, SLACK_FRAMES + math.ceil(self.max_frames_per_unit * len(text)))

    def min_frames(self, text: str) -> int:
        """The fewest frames in which it can be said."""
        return math.floor((self.min_frames_per_unit or 0.0) * len(text))
