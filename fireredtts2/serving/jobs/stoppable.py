"""A model whose speech another thread can stop in mid-turn."""

from __future__ import annotations

import copy
import threading
from collections.abc import Generator
from contextlib import closing
from typing import cast

from torch import Tensor

from fireredtts2.engine.engine import Engine
from fireredtts2.engine.front import AnyEngine
from fireredtts2.engine.model_runner import ModelRunner
from fireredtts2.engine.request import FinishReason, Request
from fireredtts2.fireredtts2 import FireRedTTS2


class StoppedError(Exception):
    """The job was cancelled, deleted or taken by another; or this server stops."""


class StoppableEngine:
    """An engine as one reader sees it, who knows which of its requests is under way.

    Args:
        engine: that makes the frames, for others too.
    """

    def __init__(self, engine: AnyEngine) -> None:
        self._engine = engine
        self._request: Request | None = None
        self._is_stopped = threading.Event()

    @property
    def model_runner(self) -> ModelRunner:
        return self._engine.model_runner

    @property
    def is_stopped(self) -> bool:
        return self._is_stopped.is_set()

    def check(self) -> None:
        """Goes on unless it was stopped.

        Raises:
            StoppedError: it was.
        """
        if self.is_stopped:
            raise StoppedError

    def stream(self, request: Request) -> Generator[Tensor, None, None]:
        """As `Engine.stream`.

        Raises:
            StoppedError: it was stopped, whatever had come by then.
        """
        self._request = request  # NOTE: before the check: `stop` sets its mark first, then looks
        try:
            self.check()
            with closing(self._engine.stream(request)) as chunks:
                for chunk in chunks:
                    self.check()
                    yield chunk
            self.check()  # a request that was cancelled ends like one that came to its end
        finally:
            self._request = None

    def stop(self) -> None:
        """Ends the request under way within a frame, and all that follow; any thread may call."""
        self._is_stopped.set()
        request = self._request
        if request is None:
            return
        if isinstance(self._engine, Engine):
            # NOTE: its readers may take its lock again and again before `cancel` gets it; they look
            # at this between two steps.
            request.finish = request.finish or FinishReason.CANCELLED
        self._engine.cancel(request)


def stoppable(tts: FireRedTTS2) -> tuple[FireRedTTS2, StoppableEngine]:
    """The same model, and what stops its speech; the one given goes on for everybody else."""
    engine = StoppableEngine(tts.studio.engine)
    mine = copy.copy(tts)
    mine.studio = copy.copy(tts.studio)
    mine.studio.engine = cast(AnyEngine, engine)
    return mine, engine
