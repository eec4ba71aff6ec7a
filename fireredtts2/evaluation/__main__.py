"""`python -m fireredtts2.evaluation`: measures a model and writes report.md and report.json."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from fireredtts2.evaluation.extras import MissingPackageError
from fireredtts2.evaluation.run import PARTS, Evaluation, EvaluationConfig

FAILED = 1
EXAMPLES = """examples:
  python -m fireredtts2.evaluation --out report/ --corpus corpus/
  python -m fireredtts2.evaluation --out report/ --part speed
  python -m fireredtts2.evaluation --model checkpoint/ --out quick/ --sentences 10 --part wer
"""


def parse(arguments: Sequence[str] | None = None) -> EvaluationConfig:
    """Reads the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m fireredtts2.evaluation",
        description=__doc__,
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
    add("--runaway-turns", type=int, default=300, help="turns looked at (default: 300)")
    add("--corpus", type=Path, help="folder of the speech corpus (codec part, voices' recordings)")
    add("--asr-model", type=Path, help="Whisper CTranslate2 folder (default: fetched once)")
    add("--device", default="auto", help="device of the model (default: auto); speed: always cpu")
    add("--threads", type=int, default=1, help="CPU threads of the judges (default: 1)")
    add("--seed", type=int, default=0)
    values = vars(parser.parse_args(arguments))
    return EvaluationConfig(parts=values.pop("part") or PARTS, **values)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the evaluation; returns the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logger = logging.getLogger(__name__)
    try:
        config = parse(arguments)
        Evaluation(config).run()
    except (MissingPackageError, OSError, RuntimeError, ValueError) as error:
        logger.error("%s", error)
        return FAILED
    sys.stdout.write((config.out / "report.md").read_text(encoding="utf-8"))
    return 0


if __name__ == "__main__":
    sys.exit(main())
