"""`python -m fireredtts2.evaluation`: measures models, compares them, and chooses between them."""

from __future__ import annotations

import dataclasses
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from fireredtts2.evaluation.choice import choose
from fireredtts2.evaluation.command_line import Command, CompareCommand, parse
from fireredtts2.evaluation.comparison import compare
from fireredtts2.evaluation.comparison_report import write_comparison
from fireredtts2.evaluation.extras import MissingPackageError
from fireredtts2.evaluation.run import Evaluation
from fireredtts2.evaluation.saved_report import REPORT_NAME, SavedReport

FAILED = 1
STOPPED = 130  # as shells call it: 128 and the signal


def main(arguments: Sequence[str] | None = None) -> int:
    """Does what the command line asks for; returns the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("faster_whisper").setLevel(logging.WARNING)  # a line for every clip
    logger = logging.getLogger(__name__)
    try:
        page = run(parse(sys.argv[1:] if arguments is None else arguments))
    except (MissingPackageError, OSError, RuntimeError, ValueError) as error:
        logger.error("%s", error)
        return FAILED
    except KeyboardInterrupt:
        logger.error("stopped; the same command goes on where it was")
        return STOPPED
    sys.stdout.write(page.read_text(encoding="utf-8"))
    return 0


def run(command: Command | CompareCommand) -> Path:
    """Does it; returns the page for people that it wrote."""
    if isinstance(command, CompareCommand):
        return compare_reports(command.first, command.second, command.out, command.page_items)
    config = command.config
    if command.choose:
        choose(command.choose, config.out, config)
        return config.out / "choice.md"
    if command.compare is None:
        Evaluation(config).run()
        return config.out / "report.md"
    other = Path(command.compare)
    if other.resolve() == config.out.resolve():
        raise ValueError(f"--compare {other}: this is the report's own folder (--out)")
    if (other / REPORT_NAME).is_file():
        SavedReport.load(other)  # what is wrong with it is told before anything is measured
    else:  # a model, then; it says so itself if it is not
        other = config.out / "other"
        Evaluation(dataclasses.replace(config, model=command.compare, out=other)).run()
    Evaluation(config).run()
    return compare_reports(other, config.out, config.out, config.page_items)


def compare_reports(first: Path, second: Path, out: Path, page_items: int) -> Path:
    """Compares two reports; returns `comparison.md`."""
    found = compare(SavedReport.load(first), SavedReport.load(second))
    write_comparison(out, found, page_items)
    return out / "comparison.md"


if __name__ == "__main__":
    sys.exit(main())
