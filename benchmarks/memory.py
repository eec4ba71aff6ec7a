"""How much memory is held."""

from __future__ import annotations

import gc
import resource
import sys
from pathlib import Path

import torch

BYTES_PER_MB = 1e6
BYTES_PER_KIB = 1_024


def process_mb() -> float:
    """Of this process, in memory now; where the system does not say, the most it ever was."""
    status = Path("/proc/self/status")
    if status.is_file():
        return _status_mb(status, "VmRSS:")
    return _largest_mb()


def peak_process_mb() -> float:
    """The most that this process ever held.

    NOTE: on Linux not from `ru_maxrss`, which starts at the parent's size.
    """
    status = Path("/proc/self/status")
    return _status_mb(status, "VmHWM:") if status.is_file() else _largest_mb()


def device_mb(device: torch.device) -> float | None:
    """Of a GPU's memory, held by tensors now; None on a CPU."""
    return torch.cuda.memory_allocated(device) / BYTES_PER_MB if device.type == "cuda" else None


def peak_device_mb(device: torch.device) -> float | None:
    """The most of a GPU's memory that torch ever reserved; None on a CPU."""
    if device.type != "cuda":
        return None
    return torch.cuda.max_memory_reserved(device) / BYTES_PER_MB


def free_memory(device: torch.device) -> None:
    """Gives up what the last measurement left behind."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


def _status_mb(status: Path, field: str) -> float:
    line = next(line for line in status.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * BYTES_PER_KIB / BYTES_PER_MB


def _largest_mb() -> float:
    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest * (1 if sys.platform == "darwin" else BYTES_PER_KIB) / BYTES_PER_MB
