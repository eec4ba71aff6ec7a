"""Draws the plots of docs/benchmarks.md from the JSON of the benchmarks.

python -m benchmarks.plot RESULTS.json --out docs
"""

from __future__ import annotations

import argparse
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.chart import Chart, Series
from benchmarks.merge import read_reports

logger = logging.getLogger(__name__)

Report = dict[str, Any]


def frame_chart(report: Report) -> Chart:
    """Milliseconds a frame by listeners at once; dashed, the memory's limit for the last one."""
    rows = report["rows"]
    lengths = sorted({row["prompt_rows"] for row in rows})
    lines = []
    for num_rows in lengths:
        at = [row for row in rows if row["prompt_rows"] == num_rows]
        for name in dict.fromkeys(row["variant"] for row in at):
            own = [row for row in at if row["variant"] == name]
            lines.append(_line(f"{name}, {num_rows} rows", own, "batch", "ms"))
        if at:
            own = [row for row in at if row["variant"] == at[-1]["variant"]]
            lines.append(_line(f"limit, {num_rows} rows", own, "batch", "limit_ms", True))
    return Chart(_title("A frame", report), "listeners at once", "ms a frame", lines, is_log=True)


def listeners_chart(report: Report) -> Chart:
    """Waits by the number of listeners."""
    rows = sorted(report["rows"], key=lambda row: row["listeners"])
    lines = [
        _line("first sound, p50", rows, "listeners", "first_p50_ms"),
        _line("gap, p99", rows, "listeners", "gap_p99_ms"),
        _line("silence heard, p99", rows, "listeners", "late_p99_ms"),
    ]
    return Chart(_title("Listeners", report), "listeners at once", "ms", lines)


def long_chart(report: Report) -> Chart:
    """Cost of each minute."""
    line = _line("one listener", report["rows"], "minute", "cost")
    title = _title("A long dialogue", report)
    return Chart(title, "minute of audio", "seconds of computing a second", [line])


CHARTS = {"frame": frame_chart, "listeners": listeners_chart, "long": long_chart}


def draw(reports: Sequence[Report], folder: Path) -> list[Path]:
    """Writes a picture for every report that has one; of several of a kind each has a number."""
    folder.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    for report in reports:
        name = report["benchmark"]
        if name not in CHARTS or not report["rows"]:
            continue
        path, number = folder / f"benchmarks-{name}.svg", 2
        while path in written:
            path, number = folder / f"benchmarks-{name}-{number}.svg", number + 1
        path.write_text(CHARTS[name](report).svg(), encoding="utf-8")
        written.append(path)
    return written


def _line(
    name: str, rows: Sequence[dict[str, Any]], x: str, y: str, is_dashed: bool = False
) -> Series:
    return Series(name, [(row[x], row[y]) for row in rows], is_dashed)


def _title(what: str, report: Report) -> str:
    settings = report["settings"]
    model = settings["model"] or f"random {settings['init_random']}"
    return f"{what}: {report['device_name']}, {model}, {settings['dtype']}, {report['date'][:10]}"


def main(arguments: Sequence[str] | None = None) -> list[Path]:
    """Reads and draws; returns what was written."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.plot", description=__doc__)
    parser.add_argument("results", type=Path, nargs="+")
    parser.add_argument("--out", type=Path, default=Path("docs"))
    args = parser.parse_args(arguments)
    written = draw([report for path in args.results for report in read_reports(path)], args.out)
    for path in written:
        logger.info("%s", path)
    return written


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    main()
