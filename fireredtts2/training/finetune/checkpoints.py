"""A run's checkpoints: written whole or not at all, the last few kept, the newest good found."""

from __future__ import annotations

import logging
import pickle
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from fireredtts2.atomic_file import atomic_path

log = logging.getLogger(__name__)
PATTERN = "step-*.pt"
DIGITS = 9


class CheckpointStore:
    """The folder `checkpoints` of a run."""

    def __init__(self, folder: Path, num_kept: int) -> None:
        self.folder, self.num_kept = folder, num_kept

    @classmethod
    def of_run(cls, out: Path, num_kept: int, resume: bool) -> CheckpointStore:
        """The store of the run in a folder.

        Raises:
            ValueError: there is a run in it, and it is not to be resumed.
        """
        store = cls(out / "checkpoints", num_kept)
        if not resume and store.paths():
            raise ValueError(
                f"{out}: holds a run already; --resume goes on with it, or choose another run.out"
            )
        return store

    def paths(self) -> list[Path]:
        """All checkpoints, the newest first."""
        return sorted(self.folder.glob(PATTERN), reverse=True)

    def save(self, step: int, state: dict[str, Any]) -> Path:
        """Writes a checkpoint, and only then removes those that are too many.

        Raises:
            OSError: the disk is full, or cannot be written; what was there before stays.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self._sweep()
        path = self.folder / f"step-{step:0{DIGITS}d}.pt"
        save_whole(path, state)
        for old in self.paths()[self.num_kept :]:
            old.unlink(missing_ok=True)
        return path

    def _sweep(self) -> None:
        """Removes what killed runs left half-written."""
        for left in self.folder.glob(".step-*.part.pt"):
            left.unlink(missing_ok=True)

    def load_newest(self) -> dict[str, Any] | None:
        """The newest checkpoint that can be read, or None where there is none.

        Raises:
            ValueError: there are checkpoints, and none can be read.
        """
        paths = self.paths()
        for path in paths:
            try:
                state = torch.load(path, map_location="cpu", weights_only=True)
            except (RuntimeError, OSError, EOFError, pickle.UnpicklingError, ValueError) as error:
                log.warning("%s: damaged (%s); trying the one before", path, error)
                continue
            return state
        if paths:
            raise ValueError(f"{self.folder}: none of its {len(paths)} checkpoints can be read")
        return None


def saved_step(path: Path) -> int | None:
    """The step of the weights in a file; None where there are none that can be read."""
    try:
        return int(torch.load(path, map_location="cpu", weights_only=True, mmap=True)["step"])
    except (RuntimeError, OSError, EOFError, pickle.UnpicklingError, ValueError, KeyError):
        return None


def known_best(path: Path, best: dict[str, Any], none: Mapping[str, Any]) -> dict[str, Any]:
    """What a checkpoint knows as the best, if the weights in a file are of it; else `none`.

    A run that is cut between a validation and its next checkpoint leaves better ones, which the
    resumed run may never reach; it then looks for the best anew, with a warning.
    """
    if best["loss"] is None or saved_step(path) == best["step"]:
        return best
    log.warning("%s: not of step %d, the best up to the checkpoint; the best is looked for anew",
                path, best["step"])  # fmt: skip
    return dict(none)


def save_whole(path: Path, state: dict[str, Any]) -> None:
    """Writes a state whole or not at all.

    Raises:
        OSError: the disk is full, or cannot be written; what was there before stays.
    """
    try:
        with atomic_path(path) as temporary:
            torch.save(state, temporary)
    except RuntimeError as error:
        # torch reports a full disk as an error of its own writer.
        free = shutil.disk_usage(path.parent).free
        raise OSError(
            f"{path}: could not be written ({str(error).splitlines()[0]}); {free / 1e9:.2f} GB are "
            "free on the disk; what was saved before is as it was"
        ) from error
