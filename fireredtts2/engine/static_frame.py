"""One frame whose tensors lie at fixed places: backbone, heads, depth decoder and sampling.

A frame of the published model is some 1,500 small operations, and calling them takes longer than
their work. With fixed places and shapes they can be made one program, see
`fireredtts2.engine.frame_programs`; as it stands here the frame runs on any device, call by call.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fireredtts2.llm.fused import FusedDualTransformer
from fireredtts2.llm.kv_cache import KVCache, Place
from fireredtts2.llm.prompt import frame_rows
from fireredtts2.llm.sampling import DrawingRows, Sampler
from fireredtts2.llm.span import Span, rotary_table

#: torch.compile gives up after so many variants of one function; there is one a batch size and
#: top-k, and none is made twice.
COMPILED_VARIANTS = 128
#: Beyond one frame that runs and one that is being prepared nothing is under way.
FRAMES_UNDER_WAY = 2


class StaticSampler:
    """A `Sampler` whose parameters and noise lie in tensors that stay where they are."""

    def __init__(
        self, model: FusedDualTransformer, batch: int, topk: int, codebook_size: int
    ) -> None:
        config, device = model.config, model.device
        shape = (batch, config.audio_num_codebooks, config.audio_vocab_size)
        self._codebook_size = codebook_size
        self._noise = torch.zeros(shape, device=device)
        self._loaded: Sampler | None = None
        self._rows = [DrawingRows([(1.0, topk, math.inf)] * batch, device) for _ in range(2)]
        for rows in self._rows:
            rows.pin()

    def load(self, sampler: Sampler) -> None:
        """Takes over a sampler's parameters, and draws its noise of the next frame."""
        self._noise.copy_(sampler.noise(*self._noise.shape[1:]), non_blocking=True)
        if sampler is not self._loaded:  # samplers do not change
            for kept, fresh in zip(self._rows, (sampler.first, sampler.depth), strict=True):
                kept.copy_from(fresh)
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
        topk: the most of the best codes that a row may choose from.
        codebook_size: codes beyond it are never drawn.
        compiles: let torch.compile make one program of it, when it first runs.
    """

    def __init__(
        self,
        model: FusedDualTransformer,
        cache: KVCache,
        rows: NextRows,
        batch: int,
        topk: int,
        codebook_size: int,
        compiles: bool = False,
    ) -> None:
        self.model = model
        model.prepare(batch)
        self.cache = cache.rows(0, batch)
        self.rows = rows.first(batch)
        self.sampler = StaticSampler(model, batch, topk, codebook_size)
        device, config = model.device, model.backbone.config
        num_codebooks = model.config.audio_num_codebooks
        self.codes = torch.zeros(batch, num_codebooks, dtype=torch.long, device=device)
        self._positions = torch.zeros(2, batch, 1, dtype=torch.long, device=device)
        # NOTE: in turns: while one is still being copied to the device the next is written.
        self._on_host = [
            torch.zeros(2, batch, 1, dtype=torch.long, pin_memory=device.type == "cuda")
            for _ in range(FRAMES_UNDER_WAY)
        ]
        self._num_loaded = 0
        self._angles = rotary_table(config.head_dim, config.rope_base, config.max_seq_len, device)
        self._all_keys = torch.arange(self.cache.capacity + 1, device=device)
        self._program: Callable[[Tensor], None] = self._make
        if compiles:
            limit = torch._dynamo.config.recompile_limit
            torch._dynamo.config.recompile_limit = max(limit, COMPILED_VARIANTS)
            self._program = torch.compile(self._make, fullgraph=True)
        self._compiles = compiles

    def load(self, speaking: Sequence[int], sampler: Sampler) -> None:
        """Puts positions, parameters and noise in their places; other rows stay silent."""
        # NOTE: a silent row writes to the cache's spare position, which nobody reads.
        on_host = self._on_host[self._num_loaded % FRAMES_UNDER_WAY]
        self._num_loaded += 1
        on_host[0] = self.cache.lengths[:, None]
        on_host[1] = self.cache.capacity
        on_host[1, list(speaking)] = on_host[0, list(speaking)]
        self._positions.copy_(on_host, non_blocking=True)
        self.sampler.load(sampler)

    def run(self, num_keys: int) -> None:
        """Makes the frame: from the loaded places into `codes`.

        Args:
            num_keys: positions attended to, at least 2.
        """
        keys = self._all_keys[:num_keys]
        if self._compiles:
            torch._dynamo.mark_dynamic(keys, 0)  # one program for all lengths
        if self.model.choice is not None:
            self.model.choice.use(0, len(self.codes), may_idle=False)
        self._program(keys)

    def _make(self, keys: Tensor) -> None:
        positions, slots = self._positions
        cos, sin = self._angles
        span = Span(
            cos[positions],
            sin[positions],
            (keys <= positions[..., None])[:, None],
            place=Place(slots=slots, num_keys=keys.shape[0]),
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
