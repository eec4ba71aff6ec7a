"""One piece of speech, tried until it is good: as in a studio, a take.

What has left the loudspeaker cannot be taken back. A take is therefore held until it cannot fail
any more in the ways that show at its start (empty, or too short); a whole clip to its end, and a
stream's as long as what came before is heard.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Generator, Sequence
from contextlib import closing
from dataclasses import dataclass

import torch
from torch import Tensor

from fireredtts2.engine.errors import RequestFailedError
from fireredtts2.engine.front import AnyEngine
from fireredtts2.engine.request import (
    LIVE_CHUNK_FRAMES,
    WHOLE_CHUNK_FRAMES,
    Block,
    FinishReason,
    Request,
)
from fireredtts2.engine.scheduler import QueueFullError
from fireredtts2.narration.conversation import Context
from fireredtts2.narration.lead import ENDLESS, NO_LEAD, Lead
from fireredtts2.narration.options import Options
from fireredtts2.narration.pace import Pace
from fireredtts2.narration.verdict import Standard
from fireredtts2.proofing.listener import Listener

logger = logging.getLogger(__name__)
NOTHING = torch.zeros(0)


class TakeError(Exception):
    """No attempt was good; the message says what was wrong with the last one."""


@dataclass(frozen=True, eq=False)
class Taken:
    """What came out.

    Attributes:
        request: what was asked, which holds the frames.
        audio: (samples,) float32, all of it.
        held: the last chunks of it, which have not been yielded.
    """

    request: Request
    audio: Tensor
    held: Sequence[Tensor] = ()

    @property
    def codes(self) -> Tensor:
        """(Q, T), the spoken frames."""
        return self.request.codes

    @property
    def was_cut(self) -> bool:
        """Whether the turn had not ended at its limit."""
        return self.request.finish is FinishReason.LIMIT

    @property
    def is_out(self) -> bool:
        """Whether some of it has been yielded, so that it must be kept."""
        return sum(len(chunk) for chunk in self.held) < len(self.audio)


def frame_limit(text: str, options: Options, pace: Pace) -> int:
    """The most frames that a piece may take; by its text, unless the limit is the wanted length."""
    if options.on_runaway == "accept":
        return options.max_frames
    return pace.max_frames(text, options.max_frames)


class Take:
    """The attempts at one piece of speech.

    Args:
        engine: makes the frames.
        context: what the piece follows; it says what counts as failed.
        speaker: "S1" to "S4".
        text: as the model reads it.
        options: sampling, limits, attempts.
        path: of this piece among all, for its random numbers.
        pace: how long a text may take.
        priority: among the requests that wait.
        listener: judges takes that are held to their end; None for no such judge.
    """

    def __init__(
        self,
        engine: AnyEngine,
        context: Context,
        speaker: str,
        text: str,
        options: Options,
        path: tuple[int, ...],
        pace: Pace,
        priority: int = 0,
        listener: Listener | None = None,
    ) -> None:
        self._engine = engine
        self._text, self._listener = text, listener
        self._priority = priority
        self._options = options
        self._path = path
        self._unspoken_frames = context.unspoken_frames
        self._timbre = context.timbre(speaker)
        self._max_frames = frame_limit(text, options, pace)
        self._standard = Standard(context.min_frames, pace.min_frames(text), options.on_runaway)
        self._asked: Request | None = None  # of the last attempt
        self._blocks: list[Block] = context.blocks(speaker, text, self._max_frames)

    def run(self, lead: Lead = NO_LEAD) -> Generator[Tensor, None, Taken]:
        """Yields audio (n,); returns what came out.

        Args:
            lead: where a listener judges, and while this leaves time, nothing is let out before the
                whole take is known to be good, and the piece is spoken again where not all of it
                is heard clearly. What there is is let out before the time is up. Until then
                nothing (n = 0) is yielded, so that a reader may go. `ENDLESS` for whole clips.

        Raises:
            TakeError: every attempt was empty, failed or ran away.
        """
        options, is_whole = self._options, lead is ENDLESS
        # Where the limit is the wanted length, no take says all of its text.
        is_judged = options.takes > 1 and options.on_runaway != "accept"
        if self._listener is not None and is_judged and lead.spare_s():
            spoken = self._clearest(self._listener, lead)
        else:
            spoken = self._spoken(0, ENDLESS if is_whole else NO_LEAD)
        taken = drained(spoken) if is_whole else (yield from spoken)
        self._asked = taken.request
        yield from taken.held
        return taken

    def _clearest(self, listener: Listener, lead: Lead) -> Generator[Tensor, None, Taken]:
        """The first take that is clear, or the clearest of as many as there may be."""
        best, best_rank = None, (False, -math.inf)
        for number in range(self._options.takes):
            before_s = lead.spare_s()
            first_attempt = number * self._options.max_attempts
            try:
                if best is None:
                    taken = yield from self._spoken(first_attempt, lead)
                elif (other := (yield from self._another(first_attempt, lead))) is not None:
                    taken = other
                else:
                    break  # the time is up
            except (TakeError, RequestFailedError, QueueFullError):
                if best is None:
                    raise
                if lead is ENDLESS:
                    continue  # what there is already is better than nothing
                break
            if taken.is_out:
                return taken
            clearness = listener.clearness(taken.audio, self._text)
            logger.debug("take %d: clearness %.2f", number + 1, clearness)
            rank = not taken.was_cut, clearness
            if best is None or rank > best_rank:
                best, best_rank = taken, rank
            took_s = 0.0 if lead is ENDLESS else before_s - lead.spare_s()
            if rank >= (True, listener.is_clear) or lead.spare_s() <= took_s:
                break
        assert best is not None
        return best

    def _another(self, first_attempt: int, lead: Lead) -> Generator[Tensor, None, Taken | None]:
        """A take that nobody needs, since there is one; None where there is no time for it.

        Of a stream it does not wait for a slot, nor let others wait for its own.
        """
        is_whole = lead is ENDLESS
        with closing(self._spoken(first_attempt, lead, may_wait=is_whole)) as spoken:
            while True:
                try:
                    audio = next(spoken)
                except StopIteration as end:
                    taken: Taken = end.value
                    return taken
                if len(audio) or (not is_whole and self._others_wait()):
                    return None
                yield audio

    def _others_wait(self) -> bool:
        """Whether somebody will have no slot in the next step."""
        scheduler = self._engine.scheduler
        return scheduler.num_waiting > scheduler.num_free

    def _spoken(
        self, first_attempt: int, lead: Lead, may_wait: bool = True
    ) -> Generator[Tensor, None, Taken]:
        """One take, whose attempts are numbered from `first_attempt` on.

        Yields what has to be let out before it ends, and nothing (n = 0) while there is time.
        """
        for attempt in range(self._options.max_attempts):
            request = self._request(first_attempt + attempt, lead, may_wait)
            self._asked = request
            audio: list[Tensor] = []
            num_out = 0
            with closing(self._engine.stream(request)) as chunks:
                for chunk in chunks:
                    audio.append(chunk)
                    if num_out == 0 and lead.spare_s():
                        yield NOTHING
                    elif self._standard.is_under_way(request):
                        yield from audio[num_out:]
                        num_out = len(audio)
            verdict = self._standard.verdict(request)
            is_final = num_out > 0 or attempt + 1 == self._options.max_attempts
            if verdict.fault is None or (is_final and verdict.is_usable):
                if verdict.fault is not None:
                    logger.warning("%s; kept as it is", verdict.fault)
                return Taken(request, torch.cat(audio), audio[num_out:])
            logger.info("attempt %d: %s", attempt + 1, verdict.fault)
            if is_final:
                break
        raise TakeError(f"{verdict.fault} (attempt {attempt + 1} of {self._options.max_attempts})")

    # --- What there is of a take that was broken off --------------------------------------------

    @property
    def num_spoken(self) -> int:
        """Frames that the last attempt has made so far."""
        return 0 if self._asked is None else self._asked.num_spoken

    @property
    def codes(self) -> Tensor:
        """(Q, T): these frames; at least one must be there."""
        assert self._asked is not None
        return self._asked.codes

    @property
    def has_ended(self) -> bool:
        """Whether the last attempt came to its own end, and not to its reader's."""
        return self._asked is not None and self._asked.finish is FinishReason.END

    def _request(self, attempt: int, lead: Lead, may_wait: bool) -> Request:
        return Request(
            blocks=self._blocks,
            sampling=self._options.sampling,
            seed=self._options.seed_of(*self._path, attempt),
            max_frames=self._max_frames,
            unspoken_frames=self._unspoken_frames,
            timbre=self._timbre,
            chunk_frames=WHOLE_CHUNK_FRAMES if lead is ENDLESS else LIVE_CHUNK_FRAMES,
            priority=self._priority,
            may_wait=may_wait,
        )


def drained(audio: Generator[Tensor, None, Taken]) -> Taken:
    """What a take comes to, whose audio nobody hears piece by piece."""
    while True:
        try:
            next(audio)
        except StopIteration as end:
            taken: Taken = end.value
            return taken
