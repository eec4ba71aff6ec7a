"""What is lost when a slot's memory is given up. Knows keys, not tensors."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from enum import IntEnum

#: A beginning counts as wanted while the last job that had it is so many jobs a slot ago: long
#: enough for a voice that is often asked for, and conversations that are over do not stay for ever.
WANTED_JOBS_PER_SLOT = 8


class Loss(IntEnum):
    """How much giving up a slot's memory would lose."""

    NOTHING = 0  # the next job begins with all of it, or another slot holds it too
    UNUSED = 1  # no job came back to what this slot alone holds
    WANTED = 2  # one did, not long ago


class KeptWork:
    """Which beginnings (blocks from the first on) the slots hold, and which were found again."""

    def __init__(self, num_slots: int) -> None:
        self._wanted_jobs = WANTED_JOBS_PER_SLOT * num_slots
        self._num_jobs = 0
        self._holders: Counter[int] = Counter()
        self._last_found: dict[int, int] = {}

    def look(self, memories: Iterable[Sequence[bytes]]) -> None:
        """Takes in what all slots hold now, for `loss`."""
        self._holders = Counter(name for keys in memories for name in _beginnings(keys))
        self._last_found = {
            name: job for name, job in self._last_found.items() if name in self._holders
        }

    def loss(self, keys: Sequence[bytes], num_shared: int) -> Loss:
        """What goes when a slot that holds `keys` keeps `num_shared` of them."""
        lost = [name for name in list(_beginnings(keys))[num_shared:] if self._holders[name] == 1]
        if not lost:
            return Loss.NOTHING
        since = self._num_jobs - self._wanted_jobs
        wanted = any(self._last_found.get(name, since) > since for name in lost)
        return Loss.WANTED if wanted else Loss.UNUSED

    def note_found(self, keys: Sequence[bytes]) -> None:
        """A job found these first blocks held."""
        self._num_jobs += 1
        for name in _beginnings(keys):
            self._last_found[name] = self._num_jobs


def _beginnings(keys: Sequence[bytes]) -> Iterator[int]:
    """A name for the first block, the first two, and so on.

    Two beginnings may by a rare chance have one name: what is given up is then chosen badly, but
    nothing is taken for held by these names.
    """
    name = 0
    for key in keys:
        name = hash((name, key))
        yield name
