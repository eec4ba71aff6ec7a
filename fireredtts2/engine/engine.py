"""The one frame loop: requests in, audio chunks out."""

from __future__ import annotations

import logging
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from fireredtts2.engine.codec_runner import CodecRunner
from fireredtts2.engine.errors import RequestFailedError
from fireredtts2.engine.model_runner import FramesUnderWay, ModelRunner
from fireredtts2.engine.request import FinishReason, Request, read_block
from fireredtts2.engine.scheduler import Scheduler, Slot
from fireredtts2.llm.sampling import SamplingParams

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Launched:
    """Frames that were begun, and for whom."""

    speakers: Sequence[tuple[Slot[Request], Request]] = ()
    frames: FramesUnderWay | None = None

    def codes(self) -> Sequence[Tensor]:
        """(Q,) for each; waits for the device."""
        return () if self.frames is None else list(self.frames.codes())


class Engine:
    """Serves requests in slots; what a slot has read stays for requests that begin alike.

    Args:
        model_runner: the dual transformer and its cache.
        codec_runner: the codec and its streaming states.
        max_waiting: requests that may wait for a slot.
        runs_ahead: begin a frame before the one before it is looked at. A device is then never
            idle; of a turn that ends one frame too many is made, and nobody hears it. By default
            where the model runner gains by it.
    """

    def __init__(
        self,
        model_runner: ModelRunner,
        codec_runner: CodecRunner,
        max_waiting: int = 1_000,
        runs_ahead: bool | None = None,
    ) -> None:
        self.model_runner = model_runner
        self.codec_runner = codec_runner
        self.scheduler: Scheduler[Request] = Scheduler(model_runner.num_slots, max_waiting)
        self.runs_ahead = model_runner.runs_ahead if runs_ahead is None else runs_ahead
        self._under_way = Launched()
        self._lock = threading.RLock()

    @torch.inference_mode()
    def step(self) -> None:
        """Takes every live request one frame (80 ms) further; audio goes to its `chunks`."""
        self.scheduler.begin_step()
        self._seat()  # 1. waiting requests get the slots that are free
        self._read()  # 2. they read their prompts, a part at a time while somebody listens
        frames = self._frames()  # 3. a frame for everyone who speaks
        for slot, frame in frames:
            self._take(self._request(slot), frame)  # 4. end of turn, or one frame more
        speaking = [slot for slot, _ in frames]
        self._decode(speaking)  # 5. chunks of audio where enough frames are there
        for slot in speaking:
            if slot.job is not None and slot.job.finish is not None:
                with self._failing([slot]):
                    self._end(slot)  # 6. the last audio; the slot is free, and remembers

    def prepare(self, params: SamplingParams) -> None:
        """Makes what frames will need before anybody waits for it; see `ModelRunner.prepare`."""
        with self._lock:
            self.model_runner.prepare(params)

    def add(self, request: Request) -> None:
        """Puts a request in the queue.

        Raises:
            ValueError: its rows and frames are more than a slot holds.
            QueueFullError: too many wait already, or it may not wait and would have to.
        """
        self.model_runner.check_fits(request.num_rows, request.max_frames)
        with self._lock:
            self.scheduler.add(request, request.may_wait)

    def stream(self, request: Request) -> Generator[Tensor, None, None]:
        """Yields a request's audio, (n,) float32 on the CPU; other requests advance with it.

        Raises:
            RequestFailedError: an error came up on the way; what was yielded before is good.
        """
        self.add(request)
        try:
            while True:
                # NOTE: looked at under the lock: another reader's step may have ended this request
                # and not yet made its last chunk.
                with self._lock:
                    if not request.chunks and request.finish is not None:
                        break
                    if not request.chunks:
                        self.step()
                while request.chunks:
                    # NOTE: a copy made outside inference mode, so that callers may change it.
                    yield request.chunks.popleft().clone()
            if request.error is not None:
                message = f"speech broke off: {type(request.error).__name__}: {request.error}"
                raise RequestFailedError(message) from request.error
        finally:
            self.cancel(request)

    def cancel(self, request: Request) -> None:
        """Stops a request wherever it is, also if a step was interrupted; its slot is free."""
        with self._lock:
            request.finish = request.finish or FinishReason.CANCELLED
            self.scheduler.withdraw(request)
            for slot in self.scheduler.live:
                if slot.job is request:
                    self._release(slot)

    # --- The stages ---------------------------------------------------------------------------

    def _seat(self) -> None:
        scheduler, swap = self.scheduler, self.model_runner.swap_rows
        while (slot := scheduler.unbegun or scheduler.seat(swap)) is not None:
            request = self._request(slot)
            with self._failing([slot]):
                self.model_runner.begin(
                    slot.index,
                    slot.num_kept_rows,
                    request.last_row,
                    request.sampling,
                    request.seed,
                    request.adapter,
                )
                self.codec_runner.start(slot.index, request.max_frames, request.timbre)
                slot.is_begun = True
            self._borrow()  # before another job gets the slot that lends

    def _borrow(self) -> None:
        """Rows that another slot has read are copied, which is cheaper."""
        for slot in self.scheduler.borrowing:
            assert slot.donor is not None
            with self._failing([slot]):
                self.model_runner.copy_rows(slot.donor.index, slot.index, slot.num_lent_rows)
                self.scheduler.note_copied(slot)

    def _read(self) -> None:
        for piece in self.scheduler.pieces():
            block = self._request(piece.slot).blocks[piece.block]
            with self._failing([piece.slot]):
                self.model_runner.read(piece.slot.index, block.part(piece.begin, piece.end))
                self.scheduler.note_read(piece)
            self._borrow()

    def _frames(self) -> list[tuple[Slot[Request], Tensor]]:
        """The frames to look at now: those just begun, or where the device runs ahead those before.

        Its next frame needs nothing from here: what was drawn is read there.
        """
        launched = self._launch()
        due, self._under_way = (
            (self._under_way, launched) if self.runs_ahead else (launched, Launched())
        )
        still = [slot for slot, request in due.speakers if slot.job is request]
        codes: Sequence[Tensor] = ()
        with self._failing(still):
            codes = due.codes()
        pairs = zip(due.speakers, codes, strict=False)
        return [(slot, frame) for (slot, request), frame in pairs if slot.job is request]

    def _launch(self) -> Launched:
        speakers = [
            (slot, self._request(slot))
            for slot in self.scheduler.speaking
            if self._request(slot).wants_frames
        ]
        if not speakers:
            return Launched()
        frames = None
        with self._failing([slot for slot, _ in speakers]):
            frames = self.model_runner.launch([slot.index for slot, _ in speakers])
            for _, request in speakers:
                request.num_launched += 1
        return Launched(speakers, frames)

    def _take(self, request: Request, frame: Tensor) -> None:
        if not frame.any():
            request.finish = FinishReason.END
            return
        request.frames.append(frame)
        if len(request.frames) == request.max_frames:
            request.finish = FinishReason.LIMIT

    def _decode(self, slots: Sequence[Slot[Request]]) -> None:
        """Decodes what is due, all slots with as many frames in one call."""
        groups: dict[int, list[Slot[Request]]] = {}
        for slot in slots:
            if slot.job is not None and (num_frames := slot.job.num_due) > 0:
                groups.setdefault(num_frames, []).append(slot)
        for num_frames, group in groups.items():
            with self._failing(group):
                requests = [self._request(slot) for slot in group]
                codes = torch.stack([request.last_codes(num_frames) for request in requests])
                audio = self.codec_runner.decode([slot.index for slot in group], codes)
                for request, chunk in zip(requests, audio, strict=True):
                    request.chunks.append(chunk)
                    request.num_decoded += num_frames

    def _end(self, slot: Slot[Request]) -> None:
        self._request(slot).chunks.append(self.codec_runner.finish(slot.index))
        self._release(slot)

    def _release(self, slot: Slot[Request]) -> None:
        request = self._request(slot)
        # After an end every frame has been read as well as made; otherwise the last one has not.
        whole = request.finish is FinishReason.END
        self.scheduler.release(slot, read_block(request).key if whole else None)

    # --- Errors -------------------------------------------------------------------------------

    @contextmanager
    def _failing(self, slots: Sequence[Slot[Request]]) -> Iterator[None]:
        """An error inside ends the requests of these slots, and nobody else's.

        Where memory ran out, only the one that was seated last goes: the others fitted before it.
        """
        try:
            yield
        except torch.OutOfMemoryError as error:
            torch.cuda.empty_cache()
            self._fail(max(slots, key=lambda slot: slot.seated), error)
        except Exception as error:
            for slot in slots:
                self._fail(slot, error)

    def _fail(self, slot: Slot[Request], error: Exception) -> None:
        request = self._request(slot)
        logger.error("a request failed", exc_info=error)
        request.finish, request.error = FinishReason.FAILED, error
        self.scheduler.release(slot, None)
        slot.keys.clear()  # its cache may hold anything now

    @staticmethod
    def _request(slot: Slot[Request]) -> Request:
        assert slot.job is not None
        return slot.job
