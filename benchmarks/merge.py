"""Joins the JSON of several benchmarks in one file.

python -m benchmarks.merge OUT.json IN.json...
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.json_file import write_json


def merge(paths: Sequence[Path]) -> dict[str, Any]:
    """All reports in order, files of several of them taken apart.

    A benchmark that was killed before its first row has left no file: it is named under "missing".
    """
    reports: list[dict[str, Any]] = []
    for path in paths:
        if path.exists():
            reports += read_reports(path)
    return {
        "devices": sorted({report["device_name"] for report in reports}),
        "missing": [path.name for path in paths if not path.exists()],
        "benchmarks": reports,
    }


def read_reports(path: Path) -> list[dict[str, Any]]:
    """The reports of a benchmark's file, or of a merged one."""
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    reports: list[dict[str, Any]] = found.get("benchmarks", [found])
    return reports


def main(arguments: Sequence[str] | None = None) -> None:
    """Reads and writes."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.merge", description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("parts", type=Path, nargs="+")
    args = parser.parse_args(arguments)
    write_json(args.out, merge(args.parts))


if __name__ == "__main__":
    main()
