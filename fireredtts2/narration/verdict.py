"""Whether an attempt at a piece of speech can be kept, by its length alone."""

from __future__ import annotations

from dataclasses import dataclass

from fireredtts2.config import FRAME_RATE_HZ
from fireredtts2.engine.request import FinishReason, Request
from fireredtts2.narration.options import OnRunaway


@dataclass(frozen=True)
class Verdict:
    """What is wrong with an attempt, if anything, and whether it may be kept for want of better."""

    fault: str | None = None
    is_usable: bool = True


@dataclass(frozen=True)
class Standard:
    """What an attempt must come up to.

    Attributes:
        min_frames: so many frames or fewer have failed.
        fewest_frames: its text cannot be said in fewer.
        on_runaway: what its limit means.
    """

    min_frames: int
    fewest_frames: int
    on_runaway: OnRunaway

    def verdict(self, request: Request) -> Verdict:
        """What is wrong with a finished request."""
        num_frames, wants_sound = len(request.frames), self.on_runaway != "error"
        if request.num_spoken == 0:
            return Verdict("the model ended the turn before anything was said", is_usable=False)
        if request.finish is FinishReason.LIMIT:
            if self.on_runaway == "accept":
                return Verdict()
            limit_s = num_frames / FRAME_RATE_HZ
            fault = f"the model did not end the turn within its limit of {limit_s:g} s"
            return Verdict(fault, is_usable=wants_sound)
        if num_frames <= self.min_frames:
            fault = f"only {num_frames} frames came, {self.min_frames + 1} are needed"
            return Verdict(fault, is_usable=wants_sound)
        if request.num_spoken < self.fewest_frames:
            return Verdict("the speech is too short for its text")
        return Verdict()

    def is_under_way(self, request: Request) -> bool:
        """Whether it cannot fail any more in the ways that show at its start."""
        return len(request.frames) > self.min_frames and request.num_spoken > 0
