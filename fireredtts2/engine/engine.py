"""The one frame loop: requests in, audio chunks out."""

from __future__ import annotations

import threading
from collections.abc import Generator

import torch
from torch import Tensor

from fireredtts2.engine.codec_runner import CodecRunner
from fireredtts2.engine.model_runner import ModelRunner
from fireredtts2.engine.request import FinishReason, Request, read_block
from fireredtts2.engine.scheduler import Scheduler, Slot

MAX_CHUNK_FRAMES = 4  # a chunk's length once some audio lies ahead of the listener


class Engine:
    """Serves requests in slots; what a slot has read stays for requests that begin alike.

    Args:
        model_runner: the dual transformer and its cache.
        codec_runner: the codec and its streaming states.
    """

    def __init__(self, model_runner: ModelRunner, codec_runner: CodecRunner) -> None:
        self.model_runner = model_runner
        self.codec_runner = codec_runner
        self.scheduler: Scheduler[Request] = Scheduler(model_runner.num_slots)
        self._lock = threading.RLock()

    @torch.inference_mode()
    def step(self) -> None:
        """Takes every live request one frame (80 ms) further; audio goes to its `chunks`."""
        self._admit()  # 1. waiting requests get slots; what their slot has not read is read
        live = self.scheduler.live
        if not live:
            return
        frames = self.model_runner.next_frames([slot.index for slot in live])  # 2. one frame each
        for slot, frame in zip(live, frames, strict=True):
            request = self._request(slot)
            self._take(request, frame)  # 3. end of turn, or one frame more
            self._decode(slot.index, request)  # 4. the codec makes a chunk when enough is there
            if request.finish is not None:
                self._release(slot)  # 5. the slot is free, and remembers

    def add(self, request: Request) -> None:
        """Puts a request in the queue.

        Raises:
            ValueError: its rows and frames are more than a slot holds.
        """
        self.model_runner.check_fits(request.num_rows, request.max_frames)
        with self._lock:
            self.scheduler.add(request)

    def stream(self, request: Request) -> Generator[Tensor, None, None]:
        """Yields a request's audio, (n,) float32 on the CPU; other requests advance with it."""
        self.add(request)
        try:
            while request.chunks or request.finish is None:
                with self._lock:
                    if not request.chunks and request.finish is None:
                        self.step()
                while request.chunks:
                    yield request.chunks.popleft()
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

    def _admit(self) -> None:
        # One at a time: an interruption leaves nobody in a slot with rows unread.
        while (admission := self.scheduler.admit()) is not None:
            slot, request = admission.slot.index, admission.job
            kept = sum(len(block) for block in request.blocks[: admission.first_block])
            unread = request.blocks[admission.first_block :]
            self.model_runner.start(slot, kept, unread, request.sampling, request.seed)
            self.scheduler.note_read(admission)
            self.codec_runner.start(slot, request.max_frames)

    def _take(self, request: Request, frame: Tensor) -> None:
        if not frame.any():
            request.finish = FinishReason.END
            return
        request.frames.append(frame)
        if len(request.frames) == request.max_frames:
            request.finish = FinishReason.LIMIT

    def _decode(self, slot: int, request: Request) -> None:
        pending = request.num_spoken - request.num_decoded
        # The first chunk is one frame, for the listener's sake; then they grow, for the machine's.
        wanted = min(MAX_CHUNK_FRAMES, max(1, request.num_decoded))
        if pending and (pending >= wanted or request.finish):
            codes = request.codes[:, request.num_decoded :]
            request.chunks.append(self.codec_runner.decode(slot, codes))
            request.num_decoded += pending
        if request.finish:
            request.chunks.append(self.codec_runner.finish(slot))

    def _release(self, slot: Slot[Request]) -> None:
        request = self._request(slot)
        # After an end every frame has been read as well as made; otherwise the last one has not.
        whole = request.finish is FinishReason.END
        self.scheduler.release(slot, read_block(request).key if whole else None)

    @staticmethod
    def _request(slot: Slot[Request]) -> Request:
        assert slot.job is not None
        return slot.job
