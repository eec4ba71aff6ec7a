"""One frame as one CUDA graph: backbone, heads, depth decoder and sampling without the host.

A frame of the published model is some 1,500 small kernels, and their launches take longer than
their work. A graph launches all of them at once. Its tensors lie at fixed places with fixed shapes,
so graphs are captured for a ladder of batch sizes and of attended lengths; a frame takes the
smallest that fits. `StaticFrame` is what is captured, and runs on any device without a graph.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from fireredtts2.llm.fused import FusedDualTransformer
from fireredtts2.llm.kv_cache import KVCache, Place
from fireredtts2.llm.prompt import frame_rows
from fireredtts2.llm.sampling import DrawingRows, Sampler
from fireredtts2.llm.span import Span, rotary_table

KEY_LADDER = (256, 512, 1024, 1536, 2048, 2560)  # then the whole window
TOPK_LADDER = (1, 32, 128)  # then the whole vocabulary
WARM_UP_RUNS = 2  # before a capture: libraries set themselves up in a first run


class Replayable(Protocol):
    """A captured frame."""

    def replay(self) -> None: ...


@dataclass(frozen=True)
class Shape:
    """What a graph is captured for.

    Attributes:
        batch: rows of the cache, from the first.
        num_keys: positions attended to.
        topk: the most of the best codes that a row may choose from.
    """

    batch: int
    num_keys: int
    topk: int


class StaticSampler:
    """A `Sampler` whose parameters and noise lie in tensors that stay where they are."""

    def __init__(self, model: FusedDualTransformer, batch: int, codebook_size: int) -> None:
        config, device = model.config, model.device
        shape = (batch, config.audio_num_codebooks, config.audio_vocab_size)
        self._codebook_size = codebook_size
        self._noise = torch.zeros(shape, device=device)
        self._loaded: Sampler | None = None
        self._rows = [DrawingRows([(1.0, 1, math.inf)] * batch, device) for _ in range(2)]
        for rows in self._rows:
            rows.pin()

    def load(self, sampler: Sampler, largest_topk: int) -> None:
        """Takes over a sampler's parameters, and draws its noise of the next frame."""
        self._noise.copy_(sampler.noise(*self._noise.shape[1:]), non_blocking=True)
        if sampler is not self._loaded:  # samplers do not change
            for kept, fresh in zip(self._rows, (sampler.first, sampler.depth), strict=True):
                kept.copy_from(fresh, largest_topk)
        self._loaded = sampler

    def noise(self, _num_codebooks: int, _vocab: int) -> Tensor:
        """As `Sampler.noise`; what was loaded."""
        return self._noise

    def draw(self, logits: Tensor, noise: Tensor, codebook: int) -> Tensor:
        """As `Sampler.draw`."""
        size = self._codebook_size
        rows = self._rows[codebook > 0]
        return rows.draw(logits.float()[:, :size], noise[:, codebook, :size])


@dataclass(frozen=True)
class NextRows:
    """What every slot reads next: tokens (slots, 1, Q+1) int64 and their live columns."""

    tokens: Tensor
    mask: Tensor

    def first(self, batch: int) -> NextRows:
        """Those of the first slots; the memory is shared."""
        return NextRows(self.tokens[:batch], self.mask[:batch])


class StaticFrame:
    """Inputs and outputs of a frame at fixed places, for the first `batch` slots.

    Args:
        model: on the device.
        cache: of all slots.
        rows: what all slots read next.
        batch: slots of this frame.
        codebook_size: codes beyond it are never drawn.
    """

    def __init__(
        self,
        model: FusedDualTransformer,
        cache: KVCache,
        rows: NextRows,
        batch: int,
        codebook_size: int,
    ) -> None:
        self.model = model
        part = slice(0, batch)
        self.cache = KVCache(cache.keys[:, part], cache.values[:, part], cache.lengths[part])
        self.rows = rows.first(batch)
        self.sampler = StaticSampler(model, batch, codebook_size)
        device, config = model.device, model.backbone.config
        num_codebooks = model.config.audio_num_codebooks
        self.codes = torch.zeros(batch, num_codebooks, dtype=torch.long, device=device)
        self._positions = torch.zeros(2, batch, 1, dtype=torch.long, device=device)
        self._on_host = torch.zeros_like(self._positions, device="cpu", pin_memory=is_cuda(device))
        self._angles = rotary_table(config.head_dim, config.rope_base, config.max_seq_len, device)

    def load(self, speaking: Sequence[int], sampler: Sampler, largest_topk: int) -> None:
        """Puts positions, parameters and noise in their places; other rows stay silent."""
        # NOTE: a silent row writes to the cache's spare position, which nobody reads.
        self._on_host[0] = self.cache.lengths[:, None]
        self._on_host[1] = self.cache.capacity
        self._on_host[1, list(speaking)] = self._on_host[0, list(speaking)]
        self._positions.copy_(self._on_host, non_blocking=True)
        self.sampler.load(sampler, largest_topk)

    def run(self, num_keys: int) -> None:
        """Makes the frame: from the loaded places into `codes`. What a graph captures."""
        positions, slots = self._positions
        cos, sin = self._angles
        keys = torch.arange(num_keys, device=positions.device)
        span = Span(
            cos[positions],
            sin[positions],
            (keys <= positions[..., None])[:, None],
            place=Place(slots=slots, num_keys=num_keys),
        )
        embedded = self.model.embed(self.rows.tokens, self.rows.mask)
        hidden = self.model.backbone(embedded, span, self.cache)
        self.codes.copy_(self.model.draw_frame(hidden[:, -1], self.sampler))

    def advance(self) -> None:
        """Makes the codes of those who spoke what they read next.

        Not part of `run`: before a capture that is done more than once for one frame.
        """
        spoke = (self._positions[1] != self.cache.capacity)[..., None]
        tokens, mask = frame_rows(self.codes)
        self.rows.tokens.copy_(torch.where(spoke, tokens, self.rows.tokens))
        self.rows.mask.copy_(torch.where(spoke, mask, self.rows.mask))


class FrameGraphs:
    """Captures frames as they are first needed, and replays them.

    Args:
        model: on a CUDA device.
        cache: of all slots; it must stay where it is.
        rows: what all slots read next; it must stay where it is.
        codebook_size: codes beyond it are never drawn.
    """

    def __init__(
        self, model: FusedDualTransformer, cache: KVCache, rows: NextRows, codebook_size: int
    ) -> None:
        self._model, self._cache, self._rows = model, cache, rows
        self._codebook_size = codebook_size
        self._frames: dict[int, StaticFrame] = {}
        self._graphs: dict[Shape, Replayable] = {}
        self._pool: Any = None  # memory that all graphs share

    def next_frames(self, speaking: Sequence[int], batch: int, sampler: Sampler) -> Tensor:
        """Codes (batch, Q) on the device; the cache's lengths stay as they are.

        Args:
            speaking: slots that speak, all below `batch`.
            batch: a step of `batch_ladder`.
            sampler: of the first `batch` slots.
        """
        if batch not in self._frames:
            self._frames[batch] = StaticFrame(
                self._model, self._cache, self._rows, batch, self._codebook_size
            )
        frame = self._frames[batch]
        # NOTE: of those who speak: a silent row may be longer, and sees what it likes.
        num_keys = max(int(self._cache.lengths[slot]) for slot in speaking) + 1
        shape = Shape(
            batch,
            step_of(KEY_LADDER, num_keys, self._cache.capacity),
            step_of(TOPK_LADDER, sampler.largest_topk, self._codebook_size),
        )
        frame.load(speaking, sampler, shape.topk)
        if shape not in self._graphs:
            self._graphs[shape] = self._captured(frame, shape)
        self._graphs[shape].replay()
        frame.advance()
        return frame.codes

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
        with torch.cuda.graph(graph, pool=self._pool):
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


def is_cuda(device: torch.device) -> bool:
    return device.type == "cuda"
