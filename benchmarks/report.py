"""What was measured: a table that is printed as it grows, and a JSON file that holds all of it."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from benchmarks.json_file import write_json
from benchmarks.memory import device_mb, peak_device_mb, peak_process_mb
from benchmarks.options import Settings

MIN_COLUMN_WIDTH = 9


class Report:
    """Rows and a summary of one benchmark; written after every row, so that a cut run is not lost.

    Args:
        name: of the benchmark.
        settings: of the run.
        columns: fields of a row that the table shows, each with its format.
        more: settings of this benchmark alone.
    """

    def __init__(
        self,
        name: str,
        settings: Settings,
        columns: Mapping[str, str],
        more: Mapping[str, Any] | None = None,
    ) -> None:
        self._settings = settings
        self._columns = columns
        self.rows: list[dict[str, Any]] = []
        self.summary: dict[str, Any] = {}
        self.skipped: list[str] = []
        self._head = {
            "benchmark": name,
            **machine(settings.device),
            "settings": {**settings.shown(), **(more or {})},
        }

    def add(self, **row: Any) -> None:
        """Takes a row in, prints and saves it."""
        if not self.rows:
            head = self._head
            _say(f"\n{head['benchmark']}: {head['device_name']}, torch {head['torch']}")
            _say("  ".join(self._padded(name, name) for name in self._columns))
        self.rows.append(row)
        shown = {name: _shown(row.get(name), form) for name, form in self._columns.items()}
        _say("  ".join(self._padded(name, text) for name, text in shown.items()))
        self.save()

    def skip(self, what: str) -> None:
        """Notes what could not be measured, and why."""
        self.skipped.append(what)
        _say(f"skipped: {what}")

    def finish(self, **summary: Any) -> dict[str, Any]:
        """Adds a summary, prints and saves it; returns the whole."""
        self.summary.update(summary)
        for name, value in self.summary.items():
            _say(f"{name}: {_shown(value, '.4g') if isinstance(value, float) else value}")
        self.save()
        return self.whole()

    def whole(self) -> dict[str, Any]:
        """All of it, as it is written."""
        return {
            **self._head,
            "peak_process_mb": peak_process_mb(),
            "device_mb": device_mb(self._settings.device),
            "peak_device_mb": peak_device_mb(self._settings.device),
            "rows": self.rows,
            "summary": self.summary,
            "skipped": self.skipped,
        }

    def save(self) -> None:
        """Writes the JSON file, if one is wanted."""
        if self._settings.out is not None:
            write_json(self._settings.out, self.whole())

    @staticmethod
    def _padded(name: str, text: str) -> str:
        return text.rjust(max(len(name), MIN_COLUMN_WIDTH))


def machine(device: torch.device) -> dict[str, Any]:
    """What a figure means nothing without."""
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "device_name": device_name(device),
        "threads": torch.get_num_threads(),
        "cores": _num_cores(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "fireredtts2": version("fireredtts2"),
    }


def device_name(device: torch.device) -> str:
    """As its maker calls it, where the system says."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpus = Path("/proc/cpuinfo")
    lines = cpus.read_text().splitlines() if cpus.is_file() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _num_cores() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _shown(value: object, form: str) -> str:
    return "-" if value is None else format(value, form)


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
