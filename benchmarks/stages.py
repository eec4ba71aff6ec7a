"""Where the time of a request goes: the engine's runners, timed from outside."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from benchmarks.clock import now
from fireredtts2.engine.engine import Engine

#: Methods of the engine's two runners, and the stage that each belongs to.
MODEL_STAGES = {"read": "prefill", "copy_rows": "prefill", "launch": "frame"}
CODEC_STAGES = {"start": "codec", "decode": "codec"}


class StageClock:
    """Seconds of each stage since `reset`.

    It waits for the device at every stage's ends, which costs a little: what it is used on is not
    what a total is taken from.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self.seconds: dict[str, float] = defaultdict(float)

    def reset(self) -> None:
        """Begins anew."""
        self.seconds.clear()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Times what is done inside."""
        begin = now(self._device)
        yield
        self.seconds[name] += now(self._device) - begin

    @contextmanager
    def watching(self, engine: Engine) -> Iterator[None]:
        """Times the engine's stages while inside."""
        watched = [
            (runner, method, stage)
            for runner, stages in (
                (engine.model_runner, MODEL_STAGES),
                (engine.codec_runner, CODEC_STAGES),
            )
            for method, stage in stages.items()
        ]
        for runner, method, stage in watched:
            setattr(runner, method, self._timed(getattr(runner, method), stage))
        try:
            yield
        finally:
            for runner, method, _ in watched:
                delattr(runner, method)  # the class's own is seen again

    def _timed(self, call: Callable[..., Any], stage: str) -> Callable[..., Any]:
        def timed(*args: Any, **kwargs: Any) -> Any:
            with self.stage(stage):
                return call(*args, **kwargs)

        return timed
