"""The one frame loop: requests in, audio chunks out."""

from __future__ import annotations

import logging
import threading
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor

from fireredtts2.engine.codec_runner import CodecRunner
from fireredtts2.engine.errors import RequestFailedError
from fireredtts2.engine.model_runner import ModelRunner
from fireredtts2.engine.request import FinishReason, Request, read_block
from fireredtts2.engine.scheduler import Scheduler, Slot

logger = logging.getLogger(__name__)


class Engine:
    """Serves requests in slots; what a slot has read stays for requests that begin alike.

    Args:
        model_runner: the dual transformer and its cache.
        codec_runner: the codec and its streaming states.
        max_waiting: requests that may wait for a slot.
    """

    def __init__(
        self, model_runner: ModelRunner, codec_runner: CodecRunner, max_waiting: int = 1_000
    ) -> None:
        self.model_runner = model_runner
        self.codec_runner = codec_runner
        self.scheduler: Scheduler[Request] = Scheduler(model_runner.num_slots, max_waiting)
        self._lock = threading.RLock()

    @torch.inference_mode()
    def step(self) -> None:
        """Takes every live request one frame (80 ms) further; audio goes to its `chunks`."""
        self.scheduler.begin_step()
        self._seat()  # 1. waiting requests get the slots that are free
        self._read()  # 2. they read their prompts, a part at a time while somebody listens
        speaking = self.scheduler.speaking
        for slot, frame in zip(speaking, self._frames(speaking), strict=False):  # 3. a frame each
            self._take(self._request(slot), frame)  # 4. end of turn, or one frame more
        self._decode(speaking)  # 5. chunks of audio where enough frames are there
        for slot in speaking:
            if slot.job is not None and slot.job.finish is not None:
                with self._failing([slot]):
                    self._end(slot)  # 6. the last audio; the slot is free, and remembers

    def add(self, request: Request) -> None:
        """Puts a request in the queue.

        Raises:
            ValueError: its rows and frames are more than a slot holds.
            QueueFullError: too many wait already.
        """
        self.model_runner.check_fits(request.num_rows, request.max_frames)
        with self._lock:
            self.scheduler.add(request)

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
        while (slot := self.scheduler.seat(self.model_runner.swap_rows)) is not None:
            request = self._request(slot)
            with self._failing([slot]):
                self.model_runner.begin(
                    slot.index,
                    slot.num_kept_rows,
                    request.last_row,
                    request.sampling,
                    request.seed,
                )
                self.codec_runner.start(slot.index, request.max_frames)
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

    def _frames(self, speaking: Sequence[Slot[Request]]) -> Sequence[Tensor]:
        """One frame for each; none when an error came up."""
        frames: Sequence[Tensor] = ()
        if speaking:
            with self._failing(speaking):
                frames = list(self.model_runner.next_frames([slot.index for slot in speaking]))
        return frames

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
                codes = torch.stack([request.codes[:, -num_frames:] for request in requests])
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
