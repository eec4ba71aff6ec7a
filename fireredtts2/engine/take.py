"""One piece of speech, tried until it is good: as in a studio, a take.

What has left the loudspeaker cannot be taken back. A take is therefore held until it cannot fail
any more in the ways that show at its start (empty, or too short); a whole clip to its end.
"""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass

import torch
from torch import Tensor

from fireredtts2.config import FRAME_RATE_HZ
from fireredtts2.engine.conversation import Context
from fireredtts2.engine.engine import Engine
from fireredtts2.engine.options import Options
from fireredtts2.engine.request import Block, FinishReason, Request

logger = logging.getLogger(__name__)


class TakeError(Exception):
    """No attempt was good; the message says what was wrong with the last one."""


@dataclass(frozen=True, eq=False)
class Taken:
    """What came out.

    Attributes:
        codes: (Q, T), the spoken frames.
        audio: (samples,) float32, what was yielded.
        was_cut: the turn had not ended at its limit.
    """

    codes: Tensor
    audio: Tensor
    was_cut: bool


class Take:
    """The attempts at one piece of speech.

    Args:
        engine: makes the frames.
        context: what the piece follows; it says what counts as failed.
        speaker: "S1" to "S4".
        text: as the model reads it.
        options: sampling, limits, attempts.
        path: of this piece among all, for its random numbers.
    """

    def __init__(
        self,
        engine: Engine,
        context: Context,
        speaker: str,
        text: str,
        options: Options,
        path: tuple[int, ...],
    ) -> None:
        self._engine = engine
        self._options = options
        self._path = path
        self._min_frames = context.min_frames
        self._unspoken_frames = context.unspoken_frames
        self._blocks: list[Block] = context.blocks(speaker, text, options.max_frames)

    def run(self, hold: bool) -> Generator[Tensor, None, Taken]:
        """Yields audio (n,); returns the codes.

        Args:
            hold: let nothing out before the whole take is known to be good.

        Raises:
            TakeError: every attempt was empty, failed or ran away.
        """
        for attempt in range(self._options.max_attempts):
            request = self._request(attempt)
            audio: list[Tensor] = []
            num_out = 0
            with closing(self._engine.stream(request)) as chunks:
                for chunk in chunks:
                    audio.append(chunk)
                    if not hold and self._is_under_way(request):
                        yield from audio[num_out:]
                        num_out = len(audio)
            fault = self._fault(request)
            is_final = num_out > 0 or attempt + 1 == self._options.max_attempts
            if fault is None or (is_final and self._is_usable(request)):
                if fault is not None:
                    logger.warning("%s; kept as it is", fault)
                yield from audio[num_out:]
                was_cut = request.finish is FinishReason.LIMIT
                return Taken(request.codes, torch.cat(audio), was_cut)
            logger.info("attempt %d: %s", attempt + 1, fault)
            if is_final:
                break
        raise TakeError(f"{fault} (attempt {attempt + 1} of {self._options.max_attempts})")

    def _request(self, attempt: int) -> Request:
        return Request(
            blocks=self._blocks,
            sampling=self._options.sampling,
            seed=self._options.seed_of(*self._path, attempt),
            max_frames=self._options.max_frames,
            unspoken_frames=self._unspoken_frames,
        )

    def _is_under_way(self, request: Request) -> bool:
        return len(request.frames) > self._min_frames and request.num_spoken > 0

    def _fault(self, request: Request) -> str | None:
        """What is wrong with a finished request."""
        num_frames = len(request.frames)
        if request.num_spoken == 0:
            return "the model ended the turn before anything was said"
        if request.finish is FinishReason.LIMIT:
            if self._options.on_runaway == "accept":
                return None
            limit_s = num_frames / FRAME_RATE_HZ
            return f"the model did not end the turn within its limit of {limit_s:g} s"
        if num_frames <= self._min_frames:
            return f"only {num_frames} frames came, {self._min_frames + 1} are needed"
        return None

    def _is_usable(self, request: Request) -> bool:
        """Whether something was said, and the caller takes it though it is not right."""
        return self._options.on_runaway != "error" and request.num_spoken > 0
