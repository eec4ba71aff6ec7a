"""A folder that one process at a time works in."""

from __future__ import annotations

from pathlib import Path

from filelock import FileLock, Timeout

LOCK_NAME = ".lock"


def hold_folder(path: Path, refusal: str) -> FileLock:
    """Holds a folder for this process; the system lets go of it however the process ends.

    Args:
        path: must exist; the lock file in it stays.
        refusal: what to say where another process holds it.

    Raises:
        ValueError: another holds it.
    """
    # Whoever lets go may be another thread than the one that held it.
    lock = FileLock(path / LOCK_NAME, timeout=0, thread_local=False)
    try:
        lock.acquire()
    except Timeout:
        raise ValueError(f"{path}: {refusal}") from None
    return lock
