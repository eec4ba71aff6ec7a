"""How far a stream is ahead of whoever hears it: the time that is left for doing better."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from fireredtts2.config import OUTPUT_RATE_HZ

#: So much stays ahead of the listener whatever is made meanwhile, in seconds as it was spoken:
#: networks and machines stumble, a server that slows speech down holds some of it back, and one
#: chunk more has to be made before what is left can be let out.
KEPT_LEAD_S = 1.0


def _never() -> bool:
    return False


class Lead:
    """How much audio lies ahead, as if it were played from its first chunk on and never stopped.

    The time that a reader lets pass counts as heard, so that a player who takes no more than he
    needs is never kept waiting.

    Args:
        speed: it is heard so many times faster than it was spoken.
        is_hurried: while it says so, there is no time to spare.
        clock: seconds.

    Raises:
        ValueError: a speed of 0 or below.
    """

    def __init__(
        self,
        speed: float = 1.0,
        is_hurried: Callable[[], bool] = _never,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        if not speed > 0:
            raise ValueError(f"speed {speed!r}: must be above 0")
        self._speed, self._is_hurried, self._clock = speed, is_hurried, clock
        self._kept_s = KEPT_LEAD_S / min(1.0, speed)
        self._ends_at = -math.inf  # when the last that was given will have been heard

    def gave(self, num_samples: int) -> None:
        """Counts audio that the reader has been given; after a gap it is heard at once."""
        if num_samples:
            seconds = num_samples / OUTPUT_RATE_HZ / self._speed
            self._ends_at = max(self._ends_at, self._clock()) + seconds

    def spare_s(self) -> float:
        """Seconds that there are before more has to be let out; 0 where there are none."""
        if self._is_hurried():
            return 0.0
        return max(0.0, self._ends_at - self._kept_s - self._clock())


class FixedLead(Lead):
    """The same time always.

    Args:
        seconds: to spare.
    """

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    def spare_s(self) -> float:
        """What was given."""
        return self._seconds


#: Of what is heard when all of it has been made, and of what is heard while it is made.
ENDLESS, NO_LEAD = FixedLead(math.inf), FixedLead(0.0)
