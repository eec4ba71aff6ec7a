"""Several engines, one a device, that are asked as one."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Generator, Sequence
from types import TracebackType
from typing import Union

from torch import Tensor

from fireredtts2.engine.engine import Engine
from fireredtts2.engine.engine_thread import EngineThread, Listener
from fireredtts2.engine.errors import RequestFailedError
from fireredtts2.engine.model_runner import ModelRunner
from fireredtts2.engine.request import FinishReason, Request
from fireredtts2.engine.scheduler import QueueFullError, Scheduler, Slot
from fireredtts2.llm.sampling import SamplingParams

#: Whatever takes requests and gives audio.
AnyEngine = Union[Engine, "Front"]
#: What another request on an engine weighs against rows that must be read there: about the frames
#: that it makes. A conversation stays where its cache is; a mere voice is spread.
ROWS_PER_REQUEST = 100


class Front:
    """Takes an `Engine`'s place over two or more of them.

    Each engine steps in a thread of its own, so that none waits for another, and an error in one
    stays there. A request's samples are the same whichever engine makes them.

    Args:
        engines: each with the same weights in memory of its own, and windows of one length. Nobody
            may use them beside this.

    Raises:
        ValueError: there are fewer than two, or their windows differ.
    """

    def __init__(self, engines: Sequence[Engine]) -> None:
        if len(engines) < 2:
            raise ValueError(f"a front needs two engines or more, not {len(engines)}")
        windows = sorted({engine.model_runner.max_rows for engine in engines})
        if len(windows) > 1:
            raise ValueError(f"the engines' windows differ: {windows} rows; give all the same")
        self.scheduler = Schedulers([engine.scheduler for engine in engines])
        self._threads = [
            EngineThread(engine, f"fireredtts2-engine-{number}")
            for number, engine in enumerate(engines)
        ]
        self._homes: weakref.WeakKeyDictionary[Request, EngineThread] = weakref.WeakKeyDictionary()
        self._lock = threading.RLock()  # one request is placed after the other
        # NOTE: the threads know nothing of the front, so that they end with it.
        self._finalizer = weakref.finalize(self, _close, self._threads)

    @property
    def model_runner(self) -> ModelRunner:
        """The first engine's; what it says of sizes is true of all."""
        return self._threads[0].engine.model_runner

    def prepare(self, params: SamplingParams) -> None:
        """As `Engine.prepare`, for each."""
        for thread in self._threads:
            thread.engine.prepare(params)

    def add(self, request: Request) -> None:
        """Puts a request in an engine's queue; its `chunks` fill from now on.

        Raises:
            ValueError: its rows and frames are more than a slot holds.
            QueueFullError: too many wait already at every engine, or it may not wait and would
                have to.
        """
        self._place(request)

    def stream(self, request: Request) -> Generator[Tensor, None, None]:
        """Yields a request's audio, (n,) float32 on the CPU.

        Raises:
            RequestFailedError: an error came up on the way; what was yielded before is good.
        """
        listener = self._place(request)
        has_ended = False
        try:
            while not has_ended:
                listener.wake.wait()
                listener.wake.clear()
                has_ended = listener.has_ended  # NOTE: before the chunks, so that none is missed
                while request.chunks:
                    yield request.chunks.popleft().clone()
            if request.error is not None:
                message = f"speech broke off: {type(request.error).__name__}: {request.error}"
                raise RequestFailedError(message) from request.error
        finally:
            self.cancel(request)

    def cancel(self, request: Request) -> None:
        """Stops a request wherever it is; its slot is free."""
        home = self._homes.get(request)
        if home is not None:
            home.cancel(request)
        request.finish = request.finish or FinishReason.CANCELLED

    def close(self) -> None:
        """Stops everything; the engines are free for other uses."""
        self._finalizer()

    def __enter__(self) -> Front:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # --- Who goes where -------------------------------------------------------------------------

    def _place(self, request: Request) -> Listener:
        """Adds a request where it costs least; where it is refused, at the next best."""
        left = list(self._threads)
        while True:
            with self._lock:
                thread = min(left, key=lambda thread: _cost(thread, request))
                listener = thread.expect(request)
                self._homes[request] = thread
            try:
                thread.add(request)
                return listener
            except QueueFullError as error:
                left.remove(thread)
                if not left:
                    message = f"all {len(self._threads)} engines are full; one of them: {error}"
                    raise QueueFullError(message) from error


class Schedulers:
    """What the engines' schedulers say, together."""

    def __init__(self, schedulers: Sequence[Scheduler[Request]]) -> None:
        self._schedulers = schedulers

    @property
    def slots(self) -> list[Slot[Request]]:
        return [slot for scheduler in self._schedulers for slot in scheduler.slots]

    @property
    def live(self) -> list[Slot[Request]]:
        """Slots with a job."""
        return [slot for scheduler in self._schedulers for slot in scheduler.live]

    @property
    def num_free(self) -> int:
        """Slots without a job."""
        return sum(scheduler.num_free for scheduler in self._schedulers)

    @property
    def num_waiting(self) -> int:
        return sum(scheduler.num_waiting for scheduler in self._schedulers)

    @property
    def max_waiting(self) -> int:
        """Jobs that may wait; setting it gives each engine an equal part, rounded up."""
        return sum(scheduler.max_waiting for scheduler in self._schedulers)

    @max_waiting.setter
    def max_waiting(self, value: int) -> None:
        for scheduler in self._schedulers:
            scheduler.max_waiting = -(-value // len(self._schedulers))


def _cost(thread: EngineThread, request: Request) -> tuple[bool, int]:
    """What a request would cost at an engine: whether it must wait for a slot, then rows.

    An engine that fails counts as fuller with every failure: it would else be the emptiest always.
    """
    scheduler = thread.engine.scheduler
    must_wait = thread.load >= len(scheduler.slots)
    unread = request.num_rows - scheduler.num_held_rows(request)
    return must_wait, unread + ROWS_PER_REQUEST * (thread.load + thread.num_failures)


def _close(threads: Sequence[EngineThread]) -> None:
    for thread in threads:
        thread.close()
