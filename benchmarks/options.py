"""The options that all benchmarks share."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import torch

from benchmarks.sizes import parse_sizes
from fireredtts2.checkpoint import MINI
from fireredtts2.engine.device import DTypeName, resolve_device, resolve_dtype
from fireredtts2.llm.fused import WeightKind

#: The budget counts from here, so that building the model is part of it.
STARTED_S = time.monotonic()


@dataclass(frozen=True)
class Settings:
    """What is measured, and on what.

    Attributes:
        model: a checkpoint folder or "mini".
        init_random: sizes to be filled with random weights instead, see `benchmarks.sizes`.
        device: where.
        kind: of the language model's weights on the engine's path.
        compiles: whether the engine's frames are compiled.
        out: the JSON file.
        quick: a few small measurements that only show that it runs.
        deadline_s: on the monotonic clock; what has not begun then is skipped.
    """

    model: str
    init_random: str | None
    device: torch.device
    kind: WeightKind
    compiles: bool
    out: Path | None
    quick: bool
    deadline_s: float | None

    @property
    def is_late(self) -> bool:
        """Whether the budget is spent."""
        return self.deadline_s is not None and time.monotonic() > self.deadline_s

    def shown(self) -> dict[str, Any]:
        """For the report."""
        return {
            "model": None if self.init_random else self.model,
            "init_random": self.init_random,
            "device": str(self.device),
            "dtype": self.kind,
            "compile": self.compiles,
            "quick": self.quick,
        }


def new_parser(name: str, description: str | None) -> argparse.ArgumentParser:
    """A parser with the shared options."""
    parser = argparse.ArgumentParser(prog=f"python -m benchmarks.{name}", description=description)
    model = parser.add_mutually_exclusive_group()
    model.add_argument("--model", help='checkpoint folder, or "mini" (the default)')
    model.add_argument(
        "--init-random",
        metavar="SIZES",
        help='random weights, made on the device: "official", "mini", or two flavors as '
        '"qwen-500m/qwen-200m" (backbone/decoder)',
    )
    parser.add_argument("--device", default="auto", help="as for FireRedTTS2")
    parser.add_argument("--dtype", default="auto", choices=get_args(DTypeName))
    parser.add_argument("--compile", action="store_true", help="as for FireRedTTS2")
    parser.add_argument("--threads", type=int, help="of the CPU; torch's default if not given")
    parser.add_argument("--out", type=Path, metavar="FILE.json")
    parser.add_argument("--quick", action="store_true", help="only show that it runs")
    parser.add_argument(
        "--budget", type=float, metavar="S", help="begin no measurement after so many seconds"
    )
    return parser


def read_settings(parser: argparse.ArgumentParser, args: argparse.Namespace) -> Settings:
    """Settings of parsed options; what cannot be ends the program with a message."""
    try:
        if args.init_random is not None:
            parse_sizes(args.init_random)
        device = resolve_device(args.device)
        kind = resolve_dtype(args.dtype, False, args.device, device)
        if args.threads is not None:
            if args.threads < 1:
                raise ValueError(f"--threads {args.threads}: must be at least 1")
            torch.set_num_threads(args.threads)
    except ValueError as error:
        parser.error(str(error))
    deadline_s = None if args.budget is None else STARTED_S + args.budget
    return Settings(
        args.model or MINI,
        args.init_random,
        device,
        kind,
        args.compile,
        args.out,
        args.quick,
        deadline_s,
    )


def whole_numbers(text: str) -> list[int]:
    """ "1,2,4" as a list, for options."""
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = [0]
    if min(numbers) < 1:
        raise argparse.ArgumentTypeError(f"{text!r}: give whole numbers from 1 on, as in 1,2,4")
    return numbers


def chosen(known: Mapping[str, object], names: Sequence[str], what: str) -> list[str]:
    """These names, if all are known.

    Raises:
        ValueError: one is not.
    """
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"unknown {what} {unknown}; known: {', '.join(known)}")
    return list(names)
