"""Batches read by other threads while one is learnt from."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

Batch = TypeVar("Batch")


class ReadAhead(Generic[Batch]):
    """Calls a function of a batch's number for the numbers that are asked for next.

    Args:
        read: what reads a batch; called in several threads.
        num_threads: so many batches are read ahead.
    """

    def __init__(self, read: Callable[[int], Batch], num_threads: int) -> None:
        self._read, self._num_threads = read, num_threads
        self._threads = ThreadPoolExecutor(num_threads, thread_name_prefix="read-ahead")
        self._coming: dict[int, Future[Batch]] = {}

    def __call__(self, number: int) -> Batch:
        """Batch `number`; whatever its reading raises is raised here."""
        for skipped in [n for n in self._coming if n < number]:
            self._coming.pop(skipped).cancel()
        for wanted in range(number, number + self._num_threads + 1):
            if wanted not in self._coming:
                self._coming[wanted] = self._threads.submit(self._read, wanted)
        return self._coming.pop(number).result()
