"""All works of a studio: each in a folder of its own, found by a name that nobody guesses."""

from __future__ import annotations

import logging
import re
import secrets
import shutil
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from fireredtts2.ui.errors import StudioError
from fireredtts2.ui.production import Production
from fireredtts2.ui.sound_file import UNFINISHED_SUFFIX
from fireredtts2.ui.work import Work
from fireredtts2.ui.work_file import FILE_NAME, load_work, save_work

logger = logging.getLogger(__name__)
TOKEN_BYTES = 18
TOKEN = re.compile(r"[A-Za-z0-9_-]{24}", re.ASCII)


@dataclass(frozen=True)
class DeskLimits:
    """What a studio keeps.

    Attributes:
        max_works: at once; the one unused for longest goes for a new one.
        max_making: works that are being made at once.
        ttl_s: how long an unused one is kept.
        max_bytes: of all works together.
    """

    max_works: int = 500
    max_making: int = 32
    ttl_s: float = 7 * 86_400.0
    max_bytes: int = 20_000_000_000


class Desk:
    """All works.

    Args:
        folder: where they are; made if it is not there.
        limits: of what is kept.

    Raises:
        OSError: the folder cannot be made.
    """

    def __init__(self, folder: Path, limits: DeskLimits | None = None) -> None:
        self.folder, self.limits = folder, limits or DeskLimits()
        folder.mkdir(parents=True, exist_ok=True)
        self._open: dict[str, Production] = {}
        self._lock = threading.Lock()

    def new(self, work: Work | None = None) -> tuple[str, Production]:
        """A work of its own, and its name.

        Raises:
            StudioError: there is no room.
            OSError: the disk is full.
        """
        self.sweep()
        token = secrets.token_urlsafe(TOKEN_BYTES)
        folder = self.folder / token
        folder.mkdir()
        made = Production(folder, work or Work(seed=secrets.randbits(31)))
        try:
            save_work(made.work, folder)
        except OSError:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        with self._lock:
            self._open[token] = made
        return token, made

    def get(self, token: str) -> Production:
        """A work by its name, from the disk if it is not open.

        Raises:
            StudioError: there is none of that name, or it is damaged.
        """
        if not TOKEN.fullmatch(token):
            raise StudioError("no such work", status=404)
        with self._lock:
            found = self._open.get(token)
            if found is None:
                folder = self.folder / token
                if not (folder / FILE_NAME).is_file():
                    raise StudioError("no such work: it was deleted, or is too old", status=404)
                for rest in folder.glob(f"*{UNFINISHED_SUFFIX}"):
                    rest.unlink(missing_ok=True)
                found = self._open[token] = Production(folder, load_work(folder))
            found.used_at = time.monotonic()
            _touch(found.folder)
        return found

    def check_making(self) -> None:
        """Raises StudioError if as many works are being made as may be."""
        with self._lock:
            num_making = sum(one.is_making for one in self._open.values())
        if num_making >= self.limits.max_making:
            raise StudioError(f"{num_making} works are being made; try again in a minute")

    def delete(self, token: str) -> None:
        """Removes a work; raises as `get`."""
        found = self.get(token)
        found.stop()
        found.join(10.0)
        with self._lock:
            self._open.pop(token, None)
        shutil.rmtree(found.folder, ignore_errors=True)

    def sweep(self) -> None:
        """Removes what nobody used for long, and the oldest where there is too much."""
        aged = sorted((_used_at(path), path) for path in self.folder.iterdir() if path.is_dir())
        sizes = {path: _size(path) for _, path in aged}
        num, num_bytes, now = len(aged), sum(sizes.values()), time.time()
        for used_at, path in aged:
            is_old = now - used_at > self.limits.ttl_s
            is_much = num >= self.limits.max_works or num_bytes > self.limits.max_bytes
            if not (is_old or is_much):
                break
            with self._lock:
                opened = self._open.get(path.name)
                if opened is not None and opened.is_making:
                    continue
                self._open.pop(path.name, None)
            shutil.rmtree(path, ignore_errors=True)
            num, num_bytes = num - 1, num_bytes - sizes[path]
        if num >= self.limits.max_works:
            raise StudioError("the studio is full: all its works are being made")

    def close(self) -> None:
        """Stops all that is being made."""
        with self._lock:
            opened = list(self._open.values())
        for one in opened:
            one.stop()
        for one in opened:
            one.join(2.0)


def _touch(folder: Path) -> None:
    try:
        (folder / FILE_NAME).touch()
    except OSError as error:  # a full disk must not keep anybody from listening
        logger.warning("%s: %s", folder.name[:6], error)


def _used_at(folder: Path) -> float:
    try:
        return (folder / FILE_NAME).stat().st_mtime
    except OSError:
        return 0.0


def _size(folder: Path) -> int:
    total = 0
    for path in folder.iterdir():
        try:
            total += path.stat().st_size
        except OSError:
            continue
    return total
