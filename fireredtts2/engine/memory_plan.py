"""How many slots of how many rows fit in what a device has free."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from fireredtts2.config import STEPS_PER_FRAME, DecoderConfig, TransformerConfig

Auto = Literal["auto"]

#: Share of the free memory that is left to activations, CUDA graphs and fragments.
RESERVED_SHARE = 0.08
#: A window shorter than this does not hold a voice prompt, a text and a turn of 30 s.
MIN_WINDOW_ROWS = 768
#: Slots that "auto" gives at most; more listeners at once are asked for by number.
MAX_AUTO_SLOTS = 64
SPARE_ROWS = 1  # of a cache, beside the window: where silent slots write


@dataclass(frozen=True)
class MemoryPlan:
    """Slots and windows that fit.

    Attributes:
        num_slots: turns spoken at the same time.
        window_rows: rows that a slot holds, prompt and frames together.
        slot_bytes: what each slot takes, cache and codec state.
        weight_bytes: what is still to be loaded beside them.
        free_bytes: what is free before all that; None where the system does not tell.
    """

    num_slots: int
    window_rows: int
    slot_bytes: int
    weight_bytes: int
    free_bytes: int | None

    @property
    def summary(self) -> str:
        """One line for the log."""
        slots = "slot" if self.num_slots == 1 else "slots"
        weights = f" beside {_gb(self.weight_bytes)} of weights" if self.weight_bytes else ""
        free = "an unknown amount" if self.free_bytes is None else _gb(self.free_bytes)
        taken = _gb(self.num_slots * self.slot_bytes)
        return (
            f"{self.num_slots} {slots} of {self.window_rows:,} rows: {taken}{weights}, of {free} "
            "that is free"
        )


@dataclass(frozen=True)
class Costs:
    """What memory goes to.

    Attributes:
        row_bytes: a row of the cache, see `row_bytes`.
        codec_bytes: the codec's state of a slot, see `codec_bytes`.
        weight_bytes: weights that are still to be loaded; 0 when they are there already.
    """

    row_bytes: int
    codec_bytes: int
    weight_bytes: int = 0

    def slot_bytes(self, window_rows: int) -> int:
        """A slot with so many rows."""
        return (window_rows + SPARE_ROWS) * self.row_bytes + self.codec_bytes

    def window_rows(self, slot_bytes: int) -> int:
        """Rows of a slot that takes so many bytes; below 1 where none fit."""
        return (slot_bytes - self.codec_bytes) // self.row_bytes - SPARE_ROWS


def plan_memory(
    free_bytes: int | None,
    costs: Costs,
    max_window_rows: int,
    num_slots: int | Auto = "auto",
    window_rows: int | Auto = "auto",
    max_slots: int = MAX_AUTO_SLOTS,
) -> MemoryPlan:
    """Fits slots and windows into memory.

    Args:
        free_bytes: see `free_bytes`; None checks nothing, and "auto" is then one whole window.
        costs: of weights, rows and slots.
        max_window_rows: what the model can attend to.
        num_slots: how many; "auto" takes what fits, `max_slots` at most.
        window_rows: of each; "auto" is `max_window_rows`, or less where not even the slots asked
            for (with "auto" one) have room for so many.
        max_slots: for "auto".

    Raises:
        ValueError: it does not fit, or a number makes no sense; says what was asked, what fits and
            what to change.
    """
    _check("num_slots", num_slots, None)
    _check("window_rows", window_rows, max_window_rows)
    least_slots = 1 if num_slots == "auto" else num_slots
    window = max_window_rows if window_rows == "auto" else window_rows
    slots = least_slots
    if free_bytes is not None:
        room = int(free_bytes * (1 - RESERVED_SHARE)) - costs.weight_bytes
        if window_rows == "auto":
            fitting = costs.window_rows(room // least_slots)
            window = max(min(MIN_WINDOW_ROWS, window), min(window, fitting))
        num_fitting = max(0, room) // costs.slot_bytes(window)
        if num_fitting < least_slots:
            raise ValueError(_refusal(free_bytes, costs, room, least_slots, window, num_fitting))
        if num_slots == "auto":
            slots = min(num_fitting, max_slots)
    slot_bytes = costs.slot_bytes(window)
    return MemoryPlan(slots, window, slot_bytes, costs.weight_bytes, free_bytes)


def row_bytes(config: TransformerConfig, itemsize: int) -> int:
    """Keys and values of one row in all layers of the backbone."""
    return 2 * config.num_layers * config.num_kv_heads * config.head_dim * itemsize


def codec_bytes(config: DecoderConfig, max_frames: int, itemsize: int = 4) -> int:
    """A slot's streaming state for clips of so many frames; 0 for a decoder that cannot stream.

    Keys and values alone: the tails of the convolutions are a few hundredths of them at most.
    """
    if not config.causal:
        return 0
    return 2 * config.num_layers * config.embed_dim * max_frames * STEPS_PER_FRAME * itemsize


# --- What is free ---------------------------------------------------------------------------------


def free_bytes(device: torch.device) -> int | None:
    """Memory that could be taken now; None where the system does not tell.

    On CUDA what the device has free and what PyTorch holds unused; elsewhere what the system could
    give without swapping, within the limits of the control groups (v2) that this process is in.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return host_free_bytes()


def host_free_bytes(root: Path = Path("/")) -> int | None:
    """As `free_bytes` for the CPU; `root` is where `proc` and `sys` lie."""
    available = _available_bytes(root / "proc/meminfo")
    if available is None:
        return None
    return min([available, *_control_group_bytes(root)])


def _available_bytes(meminfo: Path) -> int | None:
    try:
        lines = meminfo.read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable"))
    except (OSError, StopIteration):
        pass
    # Without /proc (macOS) there is no number of free pages that means anything: all count.
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, OSError, ValueError):
        return None


def _control_group_bytes(root: Path) -> Iterator[int]:
    """What each limit on the way from this process's group to the topmost leaves."""
    top = root / "sys/fs/cgroup"
    try:
        groups = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:
        return
    paths = [line.removeprefix("0::/") for line in groups if line.startswith("0::/")]
    group = top.joinpath(*(part for path in paths for part in path.split("/") if part != ".."))
    while True:
        left = _left_in_group(group)
        if left is not None:
            yield left
        if group == top:
            return
        group = group.parent


def _left_in_group(group: Path) -> int | None:
    try:
        limit = (group / "memory.max").read_text(encoding="ascii").strip()
        if limit == "max":
            return None
        used = int((group / "memory.current").read_text(encoding="ascii"))
        statistics = (group / "memory.stat").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    # Files that were read long ago count as used, and go when memory is wanted.
    cached = [int(line.split()[1]) for line in statistics if line.startswith("inactive_file ")]
    return max(0, int(limit) - used + sum(cached))


# --- Refusals -------------------------------------------------------------------------------------


def _check(name: str, value: int | Auto, most: int | None) -> None:
    bound = "" if most is None else f", at most {most}"
    whole = isinstance(value, int) and not isinstance(value, bool)
    if value != "auto" and not (whole and value >= 1 and (most is None or value <= most)):
        raise ValueError(f"{name} {value!r}: must be 'auto' or a whole number from 1{bound}")


def _refusal(
    free_bytes: int, costs: Costs, room: int, num_slots: int, window: int, num_fitting: int
) -> str:
    asked = _gb(num_slots * costs.slot_bytes(window))
    slots = "slot" if num_slots == 1 else "slots"
    free = f"{_gb(free_bytes)} are free, {_gb(int(free_bytes * RESERVED_SHARE))} of it in reserve"
    weights = f"; the weights take {_gb(costs.weight_bytes)}" if costs.weight_bytes else ""
    choices = []
    if num_fitting:
        choices.append(f"num_slots={num_fitting}")
    fitting = costs.window_rows(max(0, room) // num_slots)
    if fitting >= min(MIN_WINDOW_ROWS, window):
        choices.append(f"window_rows={fitting}")
    fits = f"What would fit: {' or '.join(choices)}. " if choices else ""
    return (
        f"{num_slots} {slots} of {window:,} rows take {asked}, but {free}{weights}. {fits}"
        "Weights of a smaller dtype or a device with more memory leave more room"
    )


def _gb(num_bytes: int) -> str:
    return f"{num_bytes / 1e9:.1f} GB" if num_bytes >= 1e8 else f"{num_bytes / 1e6:.1f} MB"
