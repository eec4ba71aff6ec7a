"""A run's checkpoints: written whole or not at all, the last few kept, the newest good found."""

from __future__ import annotations

import logging
import pickle
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from fireredtts2.atomic_file import atomic_path
from fireredtts2.folder_lock import hold_folder

log = logging.getLogger(__name__)
CHECKPOINTS, PATTERN = "checkpoints", "step-*.pt"
DIGITS = 9
#: What reading a damaged checkpoint raises.
DAMAGED = (RuntimeError, OSError, EOFError, pickle.UnpicklingError, ValueError)


class CheckpointStore:
    """The folder `checkpoints` of a run."""

    def __init__(self, folder: Path, num_kept: int) -> None:
        self.folder, self.num_kept = folder, num_kept
        self._found = self.paths()

    @classmethod
    def of_run(cls, out: Path, num_kept: int, resume: bool) -> CheckpointStore:
        """The store of the run in a folder.

        Raises:
            ValueError: there is a run in it, and it is not to be resumed.
        """
        store = cls(out / CHECKPOINTS, num_kept)
        if not resume and store.paths():
            raise ValueError(
                f"{out}: holds a run already; --resume goes on with it, or choose another run.out"
            )
        return store

    def paths(self) -> list[Path]:
        """All checkpoints, the newest first."""
        return sorted(self.folder.glob(PATTERN), reverse=True)

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keeps other runs out; the system lets go of it however the process ends.

        Raises:
            ValueError: another run is going on in this folder, or has written into it meanwhile.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        lock = hold_folder(
            self.folder,
            "another run is going on in it; wait for its end, or choose another run.out",
        )
        try:
            if self.paths() != self._found:
                raise ValueError(
                    f"{self.folder.parent}: another run has written into it since this one looked; "
                    "begin again, with --resume to go on from there"
                )
            yield
        finally:
            lock.release()

    def save(self, step: int, state: dict[str, Any]) -> Path:
        """Writes a checkpoint, and only then removes those that are too many.

        Raises:
            OSError: the disk is full, or cannot be written; what was there before stays.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self._sweep()
        path = self._path(step)
        save_whole(path, state)
        for old in self.paths()[self.num_kept :]:
            old.unlink(missing_ok=True)
        return path

    def load(self, step: int) -> dict[str, Any]:
        """The checkpoint of a step.

        Raises:
            ValueError: it is damaged, or not there; says which are.
        """
        path = self._path(step)
        if not path.is_file():
            kept = ", ".join(str(int(p.stem.rpartition("-")[2])) for p in reversed(self.paths()))
            raise ValueError(
                f"{self.folder}: no checkpoint of step {step}; there are: {kept or 'none'} "
                "(run.keep_checkpoints says how many are kept)"
            )
        try:
            return dict(torch.load(path, map_location="cpu", weights_only=True))
        except DAMAGED as error:
            raise ValueError(f"{path}: damaged ({error}); take another step") from None

    def _path(self, step: int) -> Path:
        return self.folder / f"step-{step:0{DIGITS}d}.pt"

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
            except DAMAGED as error:
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
    except (*DAMAGED, KeyError):
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
