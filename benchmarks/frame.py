"""Time a frame: the plain loop, the engine's path, and what the machine's memory allows.

A frame is 80 ms of audio for every listener of the batch. All variants of one batch and prompt
length take turns within the same rounds, with a copy test among them; ratios are within a round.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any, Protocol, get_args

import torch
from torch import Tensor

from benchmarks.byte_limit import CopyTest, frame_bytes
from benchmarks.clock import Spread, interleaved, ratio
from benchmarks.memory import free_memory
from benchmarks.options import Settings, chosen, new_parser, read_settings, whole_numbers
from benchmarks.plain_loop import PlainLoop
from benchmarks.report import Report
from benchmarks.subject import Subject
from fireredtts2.config import FRAME_RATE_HZ
from fireredtts2.engine.model_runner import ModelRunner
from fireredtts2.llm.fused import WeightKind
from fireredtts2.llm.prompt import Rows, audio_rows
from fireredtts2.llm.sampling import SamplingParams

BATCHES = {"cuda": [1, 2, 4, 8, 16, 32, 64, 128], "cpu": [1, 2, 4, 8]}
PROMPT_ROWS = [200, 2_500]
ROUNDS, QUICK_ROUNDS = 7, 2
#: A variant's part of a round lasts about so long, within bounds.
ROUND_S = 0.3
MIN_FRAMES, MAX_FRAMES = 2, 24
WARM_UP_FRAMES = 3
MS_PER_S = 1e3
FRAME_MS = MS_PER_S / FRAME_RATE_HZ
COLUMNS = {
    "batch": "d",
    "prompt_rows": "d",
    "variant": "s",
    "ms": ".2f",
    "ms_low": ".2f",
    "ms_high": ".2f",
    "times_plain": ".2f",
    "limit_ms": ".2f",
    "of_limit": ".0%",
    "audio_s_per_s": ".1f",
}


class Runner(Protocol):
    """What `ModelRunner` answers to."""

    def begin(
        self, slot: int, num_kept: int, last_row: Rows, sampling: SamplingParams, seed: int
    ) -> None: ...
    def read(self, slot: int, rows: Rows) -> None: ...
    def copy_rows(self, source: int, target: int, num_rows: int) -> None: ...
    def next_frames(self, slots: Sequence[int]) -> Tensor: ...


@dataclass(frozen=True)
class Variant:
    """Something that makes frames, and what its weights and its cache are made of."""

    runner: Runner
    kind: WeightKind
    bytes_per_cached: int


def plain_loop(subject: Subject, num_slots: int, max_rows: int) -> Variant:
    """`DualTransformer.next_frame` in float32, eager."""
    return Variant(PlainLoop(subject, num_slots, max_rows), "float32", bytes_per_cached=4)


def engine_path(
    subject: Subject,
    num_slots: int,
    max_rows: int,
    kind: WeightKind | None = None,
    compiles: bool | None = None,
) -> Variant:
    """`ModelRunner.next_frames` with the weights of `--dtype`, or of another kind."""
    kind = kind or subject.kind
    compiles = subject.compiles if compiles is None else compiles
    model = subject.fused(kind)
    runner = ModelRunner(model, num_slots, max_rows, subject.codebook_size, compiles)
    return Variant(runner, kind, model.cache_dtype.itemsize)


#: By name: makes a variant for a number of slots and of rows in each.
VARIANTS: dict[str, Callable[[Subject, int, int], Variant]] = {
    "plain": plain_loop,
    "engine": engine_path,
    **{kind: partial(engine_path, kind=kind, compiles=False) for kind in get_args(WeightKind)},
    **{
        f"{kind}-compiled": partial(engine_path, kind=kind, compiles=True)
        for kind in get_args(WeightKind)
    },
}
DEFAULT_VARIANTS = ["plain", "engine"]


class FrameCase:
    """One variant with a prompt read into every slot; each call takes one sample."""

    def __init__(
        self, runner: Runner, prompt: Rows, num_slots: int, sampling: SamplingParams
    ) -> None:
        self._runner, self._slots, self._sampling = runner, list(range(num_slots)), sampling
        self._num_kept = len(prompt) - 1
        self._last = Rows(prompt.tokens[-1:], prompt.mask[-1:])
        runner.begin(0, 0, self._last, sampling, seed=0)
        runner.read(0, Rows(prompt.tokens[:-1], prompt.mask[:-1]))
        for slot in self._slots[1:]:
            runner.copy_rows(0, slot, self._num_kept)
        self._num_frames = MIN_FRAMES
        frame_s = self._median_s(WARM_UP_FRAMES)
        self._num_frames = max(MIN_FRAMES, min(MAX_FRAMES, round(ROUND_S / frame_s)))

    def __call__(self) -> float:
        """Seconds a frame, the median of a few after the same prompt."""
        return self._median_s(self._num_frames)

    def _median_s(self, num_frames: int) -> float:
        for slot in self._slots:
            self._runner.begin(slot, self._num_kept, self._last, self._sampling, seed=slot)
        self._runner.next_frames(self._slots)  # a change of slots costs once, and is not counted
        times = []
        for _ in range(num_frames):
            begin = time.perf_counter()
            self._runner.next_frames(self._slots)  # its codes are on the host when it returns
            times.append(time.perf_counter() - begin)
        return median(times)


def possible_variants(subject: Subject, names: Sequence[str], report: Report) -> list[str]:
    """Those that can be made here; why the others cannot goes into the report."""
    found = []
    for name in names:
        try:
            VARIANTS[name](subject, 1, 1)
        except ValueError as error:
            report.skip(f"variant {name}: {error}")
        else:
            found.append(name)
    return found


@torch.inference_mode()
def compare(
    subject: Subject, names: Sequence[str], batch: int, num_rows: int, settings: Settings
) -> list[dict[str, Any]]:
    """Rows of the report for one batch and prompt length."""
    prompt = audio_rows(subject.random_codes(num_rows)[0], end=False)
    max_rows = num_rows + MAX_FRAMES + 1
    variants = {name: VARIANTS[name](subject, batch, max_rows) for name in names}
    cases: dict[str, Callable[[], float]] = {
        name: FrameCase(variant.runner, prompt, batch, subject.sampling)
        for name, variant in variants.items()
    }
    copies = CopyTest(subject.device, settings.quick)
    copies()
    samples = interleaved({"copy": copies, **cases}, QUICK_ROUNDS if settings.quick else ROUNDS)
    rates = samples["copy"]
    rows = []
    for name, variant in variants.items():
        num_bytes = frame_bytes(
            subject.config, variant.kind, variant.bytes_per_cached, batch, num_rows
        )
        limits = [num_bytes / rate for rate in rates]
        times = samples[name]
        spread = Spread.of(times, MS_PER_S)
        rows.append(
            {
                "batch": batch,
                "prompt_rows": num_rows,
                "variant": name,
                "kind": variant.kind,
                **spread.named("ms"),
                "times_plain": ratio(samples["plain"], times) if "plain" in samples else None,
                "limit_ms": median(limits) * MS_PER_S,
                "of_limit": ratio(limits, times),
                "audio_s_per_s": batch * FRAME_MS / spread.median,
                "frame_mb": num_bytes / 1e6,
                "copy_gb_s": median(rates) / 1e9,
            }
        )
    return rows


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measures and reports; returns the report."""
    parser = new_parser("frame", __doc__)
    parser.add_argument("--batches", type=whole_numbers, metavar="1,2,4")
    parser.add_argument("--prompt-rows", type=whole_numbers, metavar="200,2500")
    parser.add_argument("--variants", default=",".join(DEFAULT_VARIANTS), metavar="NAME,NAME")
    args = parser.parse_args(arguments)
    settings = read_settings(parser, args)
    try:
        names = chosen(VARIANTS, args.variants.split(","), "variants")
    except ValueError as error:
        parser.error(str(error))
    few = settings.quick
    batches = args.batches or ([1, 2] if few else BATCHES.get(settings.device.type, [1, 2, 4, 8]))
    lengths = args.prompt_rows or (PROMPT_ROWS[:1] if few else PROMPT_ROWS)
    subject = Subject(settings)
    if "plain" in names:
        _ = subject.plain  # first, so that the fused ones are made of it and it is there for all
    report = Report("frame", settings, COLUMNS, {"variants": names})
    names = possible_variants(subject, names, report)
    for batch in batches:
        for num_rows in lengths:
            if settings.is_late:
                report.skip(f"batch {batch} after {num_rows} rows: out of time")
                continue
            try:
                rows = compare(subject, names, batch, num_rows, settings)
            except torch.OutOfMemoryError:
                rows = []
                report.skip(f"batch {batch} after {num_rows} rows: out of memory")
            for row in rows:
                report.add(**row)
            free_memory(settings.device)
    return report.finish()


if __name__ == "__main__":
    main()
