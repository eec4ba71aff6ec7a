"""The model's side of the engine: dual transformer, cache, and each slot's random stream."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from fireredtts2.engine.frame_programs import FramePrograms, batch_ladder, step_of
from fireredtts2.engine.static_frame import NextRows
from fireredtts2.llm.dual_transformer import DualTransformer
from fireredtts2.llm.fused import FusedDualTransformer
from fireredtts2.llm.prompt import Rows, frame_rows
from fireredtts2.llm.sampling import Sampler, SamplingParams

CPU = torch.device("cpu")


@dataclass(frozen=True)
class FramesUnderWay:
    """Frames that a device may still be making; asking for them waits.

    Attributes:
        on_host: (rows, Q) int64, once `done` says so.
        rows: which of them were asked for.
        done: None where nothing has to be waited for.
    """

    on_host: Tensor
    rows: Sequence[int]
    done: torch.cuda.Event | None = None

    def codes(self) -> Tensor:
        """(len(rows), Q) int64 on the CPU; zeros end a turn."""
        if self.done is not None:
            self.done.synchronize()
        return self.on_host[list(self.rows)]


class ModelRunner:
    """Owns the model and a cache with one row a slot.

    Args:
        model: the dual transformer on its device, plain or fused.
        num_slots: requests served at once.
        max_rows: rows that a slot holds, prompt and frames together.
        codebook_size: the codec's; codes beyond it are never drawn.
        compiles: make one program of a frame by torch.compile, see `prepare`.

    Raises:
        ValueError: a plain model is to be compiled.
    """

    def __init__(
        self,
        model: DualTransformer | FusedDualTransformer,
        num_slots: int,
        max_rows: int,
        codebook_size: int,
        compiles: bool = False,
    ) -> None:
        self.model = model
        self.num_slots = num_slots
        self.max_rows = max_rows
        self.num_prefilled_rows = 0  # ever read as prompts; what a conversation costs beside frames
        self._codebook_size = codebook_size
        self._cache = model.new_cache(num_slots, max_rows)
        self._alone = [self._cache.row(slot) for slot in range(num_slots)]
        self._lowest = [self._cache.rows(0, num_rows) for num_rows in range(1, num_slots + 1)]
        self._device = model.device
        self._params = [SamplingParams()] * num_slots
        self._generators = [torch.Generator(self._device) for _ in range(num_slots)]
        width = model.config.audio_num_codebooks + 1
        self._samplers: dict[tuple[int, ...], Sampler] = {}
        self._choice = model.choice if isinstance(model, FusedDualTransformer) else None
        self._next = NextRows(
            torch.zeros(num_slots, 1, width, dtype=torch.long, device=self._device),
            torch.zeros(num_slots, 1, width, dtype=torch.bool, device=self._device),
        )
        self._ladder = batch_ladder(num_slots)
        is_fused = isinstance(model, FusedDualTransformer)
        if compiles and not is_fused:
            raise ValueError("only a fused model can be compiled")
        self._programs: FramePrograms | None = None
        if isinstance(model, FusedDualTransformer) and (compiles or self._device.type == "cuda"):
            self._programs = FramePrograms(model, self._cache, self._next, codebook_size, compiles)

    @property
    def adapter_numbers(self) -> Mapping[str, int]:
        """Adapters by name; "" is none."""
        model = self.model
        return model.adapter_numbers if isinstance(model, FusedDualTransformer) else {"": 0}

    @property
    def runs_ahead(self) -> bool:
        """Whether the device makes frames while the host does something else."""
        return self._programs is not None and self._device.type == "cuda"

    def prepare(self, params: SamplingParams) -> None:
        """Makes the programs of all batch sizes now, so that no listener has to wait for one.

        Where frames are neither compiled nor captured there is nothing to be done.

        Raises:
            ValueError: torch.compile does not work here; says why.
        """
        if self._programs is not None:
            with torch.inference_mode():
                self._programs.prepare(self._ladder, params)

    def check_fits(self, num_rows: int, max_frames: int) -> None:
        """Raises ValueError if so many rows and frames are more than a slot holds."""
        if num_rows < 1 or max_frames < 1 or num_rows + max_frames > self.max_rows:
            raise ValueError(
                f"{num_rows} rows of context and text and {max_frames} frames of audio were asked "
                f"for; both must be at least 1, and together at most {self.max_rows}"
            )

    def begin(
        self,
        slot: int,
        num_kept: int,
        last_row: Rows,
        sampling: SamplingParams,
        seed: int,
        adapter: str = "",
    ) -> None:
        """Keeps a slot's first `num_kept` rows; `read` adds the others but `last_row`.

        That row is left for `next_frames`, so that every frame is made in the same way.
        """
        self._cache.truncate(slot, num_kept)
        if self._choice is not None:
            self._choice.set(slot, self.adapter_numbers[adapter])
        # NOTE: nothing here waits for the device, which may be making others' next frame.
        self._next.tokens[slot].copy_(last_row.tokens, non_blocking=True)
        self._next.mask[slot].copy_(last_row.mask, non_blocking=True)
        self._params[slot] = sampling
        self._generators[slot].manual_seed(seed)
        self._samplers.clear()

    def copy_rows(self, source: int, target: int, num_rows: int) -> None:
        """Gives `target` the first rows that `source` has read: cheaper than reading them again."""
        self._cache.copy_rows(source, target, num_rows)

    def swap_rows(self, first: int, second: int) -> None:
        """Exchanges what two slots have read."""
        self._cache.swap_rows(first, second)

    def read(self, slot: int, rows: Rows) -> None:
        """Adds rows to a slot in one pass."""
        tokens = rows.tokens[None].to(self._device, non_blocking=True)
        mask = rows.mask[None].to(self._device, non_blocking=True)
        self._use(slot, 1)
        self.model.extend(tokens, mask, self._alone[slot])
        self.num_prefilled_rows += len(rows)

    def next_frames(self, slots: Sequence[int]) -> Tensor:
        """One frame for each of these slots, (len(slots), Q) int64 on the CPU; zeros end a turn."""
        return self.launch(slots).codes()

    def launch(self, slots: Sequence[int]) -> FramesUnderWay:
        """Begins one frame for each of these slots, which follow those launched before.

        A slot may be launched again before its frame is known: it reads it on the device. After an
        error every slot is as it was.
        """
        with torch.inference_mode(), self._undone_on_error(slots):
            if self._programs is None:
                return self._eager_frames(slots)
            batch = step_of(self._ladder, max(slots) + 1, self.num_slots)
            sampler = self._sampler(range(batch), slots)
            codes = self._programs.next_frames(slots, batch, sampler)
            self._cache.lengths[list(slots)] += 1
            if self._device.type != "cuda":
                return FramesUnderWay(codes.clone(), slots)
            on_host = torch.empty_like(codes, device="cpu", pin_memory=True)
            on_host.copy_(codes, non_blocking=True)
            done = torch.cuda.Event()
            done.record()
            return FramesUnderWay(on_host, slots, done)

    def _eager_frames(self, slots: Sequence[int]) -> FramesUnderWay:
        """The plain twin of the programs."""
        alone = len(slots) == 1
        rows = list(slots) if alone else list(range(max(slots) + 1))
        counts = [int(row in slots) for row in rows]
        self._use(rows[0], len(rows))
        codes = self.model.next_frame(
            self._next.tokens[rows],
            self._next.mask[rows],
            self._alone[slots[0]] if alone else self._lowest[len(rows) - 1],
            self._sampler(rows, slots),
            None if all(counts) else counts,
        )
        codes = codes if alone else codes[list(slots)]
        self._next.tokens[list(slots)], self._next.mask[list(slots)] = frame_rows(codes)
        return FramesUnderWay(codes.cpu(), range(len(slots)))

    def _use(self, first: int, num_rows: int) -> None:
        """Lets these slots' adapters be those of the batch that is computed next."""
        if self._choice is not None:
            self._choice.use(first, num_rows)

    @contextmanager
    def _undone_on_error(self, slots: Sequence[int]) -> Iterator[None]:
        """Whoever goes on after an error must find no row read twice, no random number lost."""
        lengths = self._cache.lengths.clone()
        on_cuda = self._device.type == "cuda"
        drawing = [self._generators[slot] for slot in slots if on_cuda]
        offsets = [generator.get_offset() for generator in drawing]
        try:
            yield
        except BaseException:
            self._cache.lengths.copy_(lengths)
            for generator, offset in zip(drawing, offsets, strict=True):
                generator.set_offset(offset)
            raise

    def _sampler(self, rows: Sequence[int], slots: Sequence[int]) -> Sampler:
        """For these batch rows, of which `slots` speak; kept while the same ones do."""
        speaking = tuple(slots)
        if speaking not in self._samplers:
            # NOTE: who does not speak now keeps its random stream and its next row: it may be
            # reading its prompt still, or be held for a slow reader.
            silent = torch.Generator(self._device)
            self._samplers[speaking] = Sampler(
                [self._params[row] for row in rows],
                [self._generators[row] if row in slots else silent for row in rows],
                self._codebook_size,
                None if self._programs is None else CPU,
            )
        return self._samplers[speaking]
