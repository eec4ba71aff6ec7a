"""How long a text may take to say, and the silence after it.

A model that babbles or skips is caught by the first.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

SLACK_FRAMES = 25  # two seconds: breath, pauses, an "um"
SENTENCE_ENDS = ".?!。？！"
CLOSING = " \"'”’)"  # may stand after a sentence's end


@dataclass(frozen=True)
class Pace:
    """Frames for each unit (character or sound) of a text as the model reads it.

    Attributes:
        max_frames_per_unit: speech slower than this has run away; None for no such limit.
        min_frames_per_unit: speech faster than this has lost words; None for no such limit.
        piece_pause_frames: between two sentences of a turn that are spoken as pieces of their own,
            for a model that ends each with its last sound.
    """

    max_frames_per_unit: float | None = None
    min_frames_per_unit: float | None = None
    piece_pause_frames: int = 0

    def max_frames(self, text: str, limit: int) -> int:
        """The most frames that a text may take, and never more than `limit`."""
        if self.max_frames_per_unit is None:
            return limit
        return min(limit, SLACK_FRAMES + math.ceil(self.max_frames_per_unit * len(text)))

    def min_frames(self, text: str) -> int:
        """The fewest frames in which it can be said."""
        return math.floor((self.min_frames_per_unit or 0.0) * len(text))

    def pause_frames(self, pieces: Sequence[str], index: int) -> int:
        """The silence after one of a turn's pieces."""
        goes_on = index + 1 < len(pieces)
        if goes_on and pieces[index].rstrip(CLOSING).endswith(tuple(SENTENCE_ENDS)):
            return self.piece_pause_frames
        return 0
