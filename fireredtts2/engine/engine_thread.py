"""An engine that steps in a thread of its own for as long as somebody gets further by it."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass, field

import torch

from fireredtts2.engine.engine import Engine
from fireredtts2.engine.request import FinishReason, Request

logger = logging.getLogger(__name__)

#: How often it is looked whether readers that held everyone up have read on: a quarter of a frame.
HELD_POLL_S = 0.02


@dataclass(eq=False)
class Listener:
    """Who waits for a request's audio.

    Attributes:
        wake: set when there is something new.
        has_ended: no more will come than lies there.
    """

    wake: threading.Event = field(default_factory=threading.Event)
    has_ended: bool = False


class ClosedError(RuntimeError):
    """The engine has been closed."""


class EngineThread:
    """Owns an engine: nobody else may call it, but any thread may call this.

    Attributes:
        engine: the engine.
        num_failures: requests that failed one after the other, up to now.
    """

    def __init__(self, engine: Engine, name: str) -> None:
        self.engine = engine
        self.num_failures = 0
        self._listeners: dict[Request, Listener] = {}
        self._calls: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._is_closed = False
        # Of the three above, never held for long; reentrant, as a collected front closes anywhere.
        self._lock = threading.RLock()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    @property
    def load(self) -> int:
        """Requests that are served or wait, or are about to be added."""
        return len(self._listeners)

    def expect(self, request: Request) -> Listener:
        """Counts a request that is about to be added, so that others may go elsewhere."""
        with self._lock:
            return self._listeners.setdefault(request, Listener())

    def add(self, request: Request) -> None:
        """Adds an expected request between two steps; what the engine raises comes from here."""
        try:
            self._call(lambda: self.engine.add(request))
        except Exception:
            self._forget(request)
            raise
        except BaseException:
            # It may be there already, or come there yet.
            self._post(lambda: self.engine.cancel(request))
            raise

    def cancel(self, request: Request) -> None:
        """Stops a request between two steps; after a `close` everything has stopped."""
        if request in self._listeners:
            with suppress(ClosedError):
                self._call(lambda: self.engine.cancel(request))

    def close(self) -> None:
        """Stops every request and the thread."""
        with self._lock:
            self._is_closed = True
            self._calls.put(None)
        if threading.current_thread() is not self._thread:
            self._thread.join()

    # --- In the callers' threads ----------------------------------------------------------------

    def _call(self, function: Callable[[], None]) -> None:
        done: Future[None] = Future()

        def run() -> None:
            try:
                function()
                done.set_result(None)
            except BaseException as error:
                done.set_exception(error)

        self._post(run)
        done.result()

    def _post(self, function: Callable[[], None]) -> None:
        with self._lock:
            if self._is_closed:
                raise ClosedError("the engine has been closed")
            self._calls.put(function)

    def _expected(self) -> list[tuple[Request, Listener]]:
        with self._lock:
            return list(self._listeners.items())

    def _forget(self, request: Request) -> None:
        with self._lock:
            self._listeners.pop(request, None)

    # --- In the engine's thread -----------------------------------------------------------------

    def _run(self) -> None:
        device = self.engine.model_runner.model.device
        if device.type == "cuda":
            torch.cuda.set_device(device)  # each thread has a current device of its own
        wait_s: float | None = None
        try:
            while self._answer_calls(wait_s):
                wait_s = self._step()
                self._notify()
        finally:
            with self._lock:
                self._is_closed = True
            self._answer_calls(0.0)
            for request, _ in self._expected():
                self.engine.cancel(request)
            self._notify()

    def _answer_calls(self, wait_s: float | None) -> bool:
        """Runs all that was posted; without any waits for it, None for ever. False to stop."""
        try:
            call = self._calls.get(timeout=wait_s)
            while call is not None:
                call()
                call = self._calls.get_nowait()
        except queue.Empty:
            return True
        return False

    def _step(self) -> float | None:
        """A step, if there is work; returns how long the next call may be waited for."""
        scheduler = self.engine.scheduler
        try:
            if not scheduler.has_work:
                return HELD_POLL_S if scheduler.live else None
            self.engine.step()
        except Exception as error:
            self._fail_all(error)
        return 0.0

    def _fail_all(self, error: Exception) -> None:
        """An error that is nobody's own: the engine goes on, and trusts nothing it holds."""
        logger.error("an engine's step failed", exc_info=error)
        for request, _ in self._expected():
            if request.finish is None:
                request.finish, request.error = FinishReason.FAILED, error
            self.engine.cancel(request)
        for slot in self.engine.scheduler.slots:
            slot.keys.clear()

    def _notify(self) -> None:
        """Wakes whoever has something to read. A request ends here, never in mid-step."""
        for request, listener in self._expected():
            if request.finish is not None:
                self._count(request.finish)
                self._forget(request)
                listener.has_ended = True
            if listener.has_ended or request.chunks:
                listener.wake.set()

    def _count(self, finish: FinishReason) -> None:
        if finish is FinishReason.FAILED:
            self.num_failures += 1
        elif finish is not FinishReason.CANCELLED:
            self.num_failures = 0
