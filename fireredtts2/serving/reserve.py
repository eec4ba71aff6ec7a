"""What a player has of a stream that he has not heard yet."""

from __future__ import annotations


class Reserve:
    """Tells when a player ran dry because a chunk was made too late, not because he was slow.

    Args:
        speed: he plays it so many times faster than it was spoken.
    """

    def __init__(self, speed: float = 1.0) -> None:
        self._speed = speed
        self._seconds: float | None = None  # None before the first sound
        self._last_s = 0.0

    def came(self, took_s: float, sounds_s: float) -> float | None:
        """A chunk was made.

        Args:
            took_s: from asking for it until it was there.
            sounds_s: how long it sounds as it was spoken; 0 for a chunk that only says that more
                is to come.

        Returns:
            For how long nothing was heard before it; None for a first chunk or one without sound.
        """
        late_s = None
        if self._seconds is not None:
            self._seconds -= took_s
            late_s = max(0.0, -self._seconds) if sounds_s else None
        if sounds_s:
            self._last_s = sounds_s / self._speed
            self._seconds = max(0.0, self._seconds or 0.0) + self._last_s
        return late_s

    def waited(self, seconds: float) -> None:
        """Nobody asked for more: the player heard what he had, or saved at least the last chunk."""
        if self._seconds is not None:
            floor_s = min(self._seconds, self._last_s)
            self._seconds = max(floor_s, self._seconds - seconds)
