"""The loop that everything is compared with."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from benchmarks.subject import Subject
from fireredtts2.llm.prompt import Rows, frame_rows
from fireredtts2.llm.sampling import Sampler, SamplingParams


class PlainLoop:
    """The module as it stands and a cache, no more; answers to what `ModelRunner` does."""

    def __init__(self, subject: Subject, num_slots: int, max_rows: int) -> None:
        self._model = subject.plain
        self._codebook_size = subject.codebook_size
        self._cache = self._model.new_cache(num_slots, max_rows)
        self._device = subject.device
        self._params = [SamplingParams()] * num_slots
        self._generators = [torch.Generator(self._device) for _ in range(num_slots)]
        width = subject.config.audio_num_codebooks + 1
        self._tokens = torch.zeros(num_slots, 1, width, dtype=torch.long, device=self._device)
        self._mask = torch.zeros_like(self._tokens, dtype=torch.bool)
        self._sampler: Sampler | None = None

    def begin(
        self, slot: int, num_kept: int, last_row: Rows, sampling: SamplingParams, seed: int
    ) -> None:
        self._cache.truncate(slot, num_kept)
        self._tokens[slot], self._mask[slot] = last_row.tokens, last_row.mask
        self._params[slot] = sampling
        self._generators[slot].manual_seed(seed)
        self._sampler = None

    def read(self, slot: int, rows: Rows) -> None:
        tokens, mask = rows.tokens[None].to(self._device), rows.mask[None].to(self._device)
        self._model.extend(tokens, mask, self._cache.row(slot))

    def copy_rows(self, source: int, target: int, num_rows: int) -> None:
        self._cache.copy_rows(source, target, num_rows)

    def next_frames(self, slots: Sequence[int]) -> Tensor:
        """All slots speak, always."""
        if self._sampler is None:
            self._sampler = Sampler(self._params, self._generators, self._codebook_size)
        codes = self._model.next_frame(self._tokens, self._mask, self._cache, self._sampler)
        self._tokens, mask = frame_rows(codes)
        self._mask = mask.contiguous()
        return codes.cpu()
