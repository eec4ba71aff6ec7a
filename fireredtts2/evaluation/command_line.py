"""The command line: what can be asked for."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fireredtts2.evaluation.clone_sets import SET_KINDS, SetSource
from fireredtts2.evaluation.goals import RUNAWAY_TURNS
from fireredtts2.evaluation.page.render import PAGE_ITEMS
from fireredtts2.evaluation.settings import PARTS, EvaluationConfig

PROGRAM = "python -m fireredtts2.evaluation"
DESCRIPTION = "Measures a model and writes report.md, report.json and report.html."
EXAMPLES = """examples:
  python -m fireredtts2.evaluation --out report/ --corpus corpus/
  python -m fireredtts2.evaluation --out report/ --part speed
  python -m fireredtts2.evaluation --model checkpoint/ --out quick/ --sentences 10 --part wer
  python -m fireredtts2.evaluation --out cloning/ --set seed-tts-eval:seedtts_testset/en
  python -m fireredtts2.evaluation --model new/ --out new_report/ --compare old_report/
  python -m fireredtts2.evaluation compare old_report/ new_report/ --out difference/
  python -m fireredtts2.evaluation --choose step_1000/ step_2000/ --out chosen/
"""
COMPARE = "compare"


@dataclass(frozen=True)
class Command:
    """What the command line asks for.

    Attributes:
        config: What is measured.
        compare: A report's folder, or a model, to compare the result with.
        choose: Checkpoints of which the best is wanted.
    """

    config: EvaluationConfig
    compare: str | None = None
    choose: Sequence[str] = ()


@dataclass(frozen=True)
class CompareCommand:
    """Two reports to compare, and where the comparison goes."""

    first: Path
    second: Path
    out: Path
    page_items: int


def parse(arguments: Sequence[str]) -> Command | CompareCommand:
    """Reads the command line."""
    if arguments and arguments[0] == COMPARE:
        return parse_compare(arguments[1:])
    values = vars(_parser().parse_args(arguments))
    compare, choose, parts = values.pop("compare"), values.pop("choose"), values.pop("part")
    adapt = values.pop("adapt")
    values["sets"] = tuple(SetSource.parse(text, adapt) for text in values.pop("set"))
    if compare and choose:
        raise ValueError("--compare and --choose: only one of them can be had at a time")
    if parts is None:
        # Whoever asks for a set or a choice wants that; everything else has to be named.
        parts = () if values["sets"] else ("wer",) if choose else PARTS
    return Command(EvaluationConfig(parts=tuple(parts), **values), compare, choose or ())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=PROGRAM,
        description=DESCRIPTION,
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--model", default="mini", help='"mini" or a checkpoint folder (default: mini)')
    add("--out", type=Path, required=True, help="folder of the report; a second run goes on in it")
    add("--part", action="append", choices=PARTS, help="only this part; may be given again")
    add("--sentences", type=int, default=100, help="how many held-out sentences (default: 100)")
    add("--dialogues", type=int, default=10, help="how many dialogues (default: 10)")
    add("--codec-clips", type=int, default=50, help="clips for the codec (default: 50)")
    add("--runaway-turns", type=int, default=RUNAWAY_TURNS,
        help=f"turns looked at (default: {RUNAWAY_TURNS})")  # fmt: skip
    add("--long-minutes", type=float, default=10, help="of the long dialogue (default: 10)")
    add("--corpus", type=Path, help="folder of the speech corpus (codec part, voices' recordings)")
    add("--asr-model", type=Path, help="Whisper CTranslate2 folder (default: fetched once)")
    add("--device", default="auto", help="device of the model (default: auto); speed: always cpu")
    add("--threads", type=int, default=1, help="CPU threads of the judges (default: 1)")
    add("--seed", type=int, default=0)
    add("--set", action="append", default=[], metavar="KIND:PATH",
        help=f"clone the voices of a set on disk ({', '.join(SET_KINDS)}); may be given again, "
        "and measures no other part unless --part names it")  # fmt: skip
    add("--set-items", type=int, default=100, help="items of each set, 0 for all (default: 100)")
    add(
        "--adapt",
        action="store_true",
        help="adapt the decoder to each prompt of the sets first, as `voices add --adapt` does",
    )
    add(
        "--streams",
        action="store_true",
        help="speak as streams do, where the model's listener is asked as far as there is time",
    )
    add("--language", default="en", help="language of the sets, as Whisper names it (default: en)")
    add("--page-items", type=int, default=PAGE_ITEMS,
        help=f"items of a part with sound in report.html (default: {PAGE_ITEMS})")  # fmt: skip
    add("--compare", metavar="OTHER",
        help="a report's folder, or a model that is measured too: says what differs")  # fmt: skip
    add("--choose", nargs="+", metavar="CHECKPOINT",
        help="measure these instead of --model, and name the best")  # fmt: skip
    return parser


def parse_compare(arguments: Sequence[str]) -> CompareCommand:
    """Reads what follows `compare`."""
    parser = argparse.ArgumentParser(
        prog=f"{PROGRAM} {COMPARE}",
        description="Compares two reports item by item; writes comparison.md, .json and .html.",
    )
    parser.add_argument("first", type=Path, help="folder of a report")
    parser.add_argument("second", type=Path, help="folder of the report to compare with it")
    parser.add_argument("--out", type=Path, required=True, help="folder to write into")
    parser.add_argument("--page-items", type=int, default=PAGE_ITEMS,
        help=f"items with sound in comparison.html (default: {PAGE_ITEMS})")  # fmt: skip
    return CompareCommand(**vars(parser.parse_args(arguments)))
