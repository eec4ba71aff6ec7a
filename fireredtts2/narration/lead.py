"""How far a stream is ahead of whoever hears it: the time that is left for doing better."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from fireredtts2.config import OUTPUT_RATE_HZ

#: So much stays ahead of the listener whatever is made meanwhile, in seconds: networks and
#: machines stumble, and one chunk more has to be made before what is left can be let out.
KEPT_LEAD_S = 1.0


class Lead:
    """How much audio lies ahead, as if it were played from its first chunk on and never stopped.

    Whoever takes chunks more slowly than they are made is nearer to their end than this says only
    by what he keeps himself.

    Args:
        speed: it is heard so many times faster than it was spoken.
        clock: seconds.

    Raises:
        ValueError: a speed of 0 or below.
    """

    def __init__(self, speed: float = 1.0, clock: Callable[[], float] = time.monotonic) -> None:
        if not speed > 0:
            raise ValueError(f"speed {speed!r}: must be above 0")
        self._speed, self._clock = speed, clock
        self._ends_at = -math.inf  # when the last that was given will have been heard

    def gave(self, num_samples: int) -> None:
        """Counts audio that the reader has been given; after a gap it is heard at once."""
        if num_samples:
            seconds = num_samples / OUTPUT_RATE_HZ / self._speed
            self._ends_at = max(self._ends_at, self._clock()) + seconds

    def spare_s(self) -> float:
        """Seconds that there are before more has to be let out; 0 where there are none."""
        return max(0.0, self._ends_at - KEPT_LEAD_S - self._clock())
