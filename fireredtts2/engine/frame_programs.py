"""A frame as one program: compiled by torch.compile, captured as a CUDA graph, or both.

A graph has fixed shapes, so there is one for each step of a ladder of batch sizes, of attended
lengths and of top-k; a frame takes the smallest that fits. A compiled program takes any length.
"""

from __future__ import annotations

import logging
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from fireredtts2.engine.static_frame import NextRows, StaticFrame
from fireredtts2.llm.fused import FusedDualTransformer
from fireredtts2.llm.kv_cache import KVCache
from fireredtts2.llm.sampling import Sampler, SamplingParams

logger = logging.getLogger(__name__)

KEY_LADDER = (256, 512, 1024, 1536, 2048, 2560)  # then the whole window
TOPK_LADDER = (1, 32, 128)  # then the whole vocabulary
CPU = torch.device("cpu")
MIN_KEYS = 2  # a dimension of 1 would be compiled as something of its own
WARM_UP_RUNS = 2  # before a capture: libraries set themselves up in a first run


class Replayable(Protocol):
    """A captured frame."""

    def replay(self) -> None: ...


@dataclass(frozen=True)
class Shape:
    """What a graph is captured for.

    Attributes:
        batch: rows of the cache, from the first.
        topk: the most of the best codes that a row may choose from.
        num_keys: positions attended to.
    """

    batch: int
    topk: int
    num_keys: int


class FramePrograms:
    """Makes programs as they are first needed, and runs them.

    Args:
        model: on its device.
        cache: of all slots; it must stay where it is.
        rows: what all slots read next; it must stay where it is.
        codebook_size: codes beyond it are never drawn.
        compiles: whether torch.compile comes first; on a CPU there is nothing else.
    """

    def __init__(
        self,
        model: FusedDualTransformer,
        cache: KVCache,
        rows: NextRows,
        codebook_size: int,
        compiles: bool,
    ) -> None:
        self._model, self._cache, self._rows = model, cache, rows
        self._codebook_size = codebook_size
        self._compiles = compiles
        self._captures = model.device.type == "cuda"
        self._frames: dict[tuple[int, int], StaticFrame] = {}
        self._graphs: dict[Shape, Replayable] = {}
        self._pool: Any = None  # memory that all graphs share

    def next_frames(self, speaking: Sequence[int], batch: int, sampler: Sampler) -> Tensor:
        """Codes (batch, Q) on the device, perhaps still being made; the cache's lengths stay.

        Args:
            speaking: slots that speak, all below `batch`.
            batch: a step of `batch_ladder`.
            sampler: of the first `batch` slots.
        """
        # NOTE: of those who speak: a silent row may be longer, and sees what it likes.
        num_keys = max(int(self._cache.lengths[slot]) for slot in speaking) + 1
        frame = self._frame(batch, sampler)
        frame.load(speaking, sampler)
        if self._captures:
            self._graph(frame, self._shape(batch, sampler, num_keys)).replay()
        else:
            frame.run(max(num_keys, MIN_KEYS))
        frame.advance()
        return frame.codes

    def prepare(self, batches: Sequence[int], params: SamplingParams) -> None:
        """Makes the programs of these batch sizes, so that no listener has to wait for one.

        Raises:
            ValueError: torch.compile does not work here; says why.
        """
        for batch in batches:
            silent = [torch.Generator(self._model.device) for _ in range(batch)]
            sampler = Sampler([params] * batch, silent, self._codebook_size, CPU)
            frame = self._frame(batch, sampler)
            frame.load([], sampler)
            try:
                if self._captures:
                    for num_keys in (*KEY_LADDER, self._cache.capacity):
                        self._graph(frame, self._shape(batch, sampler, num_keys))
                else:
                    frame.run(MIN_KEYS)
            except Exception as error:
                if not self._compiles or isinstance(error, torch.OutOfMemoryError):
                    raise
                raise ValueError(not_compiled(error, self._captures)) from error
            logger.info("frames of %d are prepared", batch)

    def _frame(self, batch: int, sampler: Sampler) -> StaticFrame:
        topk = self._topk(sampler)
        if (batch, topk) not in self._frames:
            self._frames[batch, topk] = StaticFrame(
                self._model,
                self._cache,
                self._rows,
                batch,
                topk,
                self._codebook_size,
                self._compiles,
            )
        return self._frames[batch, topk]

    def _topk(self, sampler: Sampler) -> int:
        return step_of(TOPK_LADDER, sampler.largest_topk, self._codebook_size)

    def _shape(self, batch: int, sampler: Sampler, num_keys: int) -> Shape:
        keys = step_of(KEY_LADDER, num_keys, self._cache.capacity)
        return Shape(batch, self._topk(sampler), keys)

    def _graph(self, frame: StaticFrame, shape: Shape) -> Replayable:
        if shape not in self._graphs:
            self._graphs[shape] = self._captured(frame, shape)
        return self._graphs[shape]

    def _captured(self, frame: StaticFrame, shape: Shape) -> Replayable:
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        # NOTE: these runs write to the places of the cache that the replay writes to as well:
        # nothing is left of them.
        with torch.cuda.stream(side):
            for _ in range(WARM_UP_RUNS):
                frame.run(shape.num_keys)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        # Only this thread's calls may spoil the capture: another may be encoding a voice.
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            frame.run(shape.num_keys)
        self._pool = self._pool or graph.pool()
        return graph


def step_of(ladder: Sequence[int], wanted: int, last: int) -> int:
    """The first step of a ladder that is enough; `last` where none is."""
    return min(next((step for step in ladder if step >= wanted), last), last)


def batch_ladder(num_slots: int) -> list[int]:
    """1, 2, 4, ... and the number of slots itself."""
    steps = [1 << n for n in range(num_slots.bit_length()) if 1 << n < num_slots]
    return [*steps, num_slots]


def not_compiled(error: Exception, on_cuda: bool) -> str:
    """What to tell somebody whose machine cannot compile."""
    needs = "Triton" if on_cuda else "a C++ compiler and Python's headers"
    names = [os.environ.get("CXX", ""), "g++", "clang++"]
    found = on_cuda or any(name and shutil.which(name) for name in names)
    lacks = "" if found else " (neither g++ nor clang++ was found)"
    first = (str(error).strip().splitlines() or [type(error).__name__])[0]
    return f"compiling needs {needs}{lacks}; without compile everything works too. {first}"
