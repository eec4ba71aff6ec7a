"""Files and folders that are written whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """Lends a temporary path beside `path`, which takes its place when the block succeeds.

    On any error, Ctrl-C included, the temporary file is removed and an older file at `path` stays
    as it was. A device or pipe (`/dev/stdout`) is lent as it is, since it cannot be replaced.

    Args:
        path: where the file is to stand; its folder must exist. A link is followed.

    Yields:
        The path to write to; it has the same extension, and holds an empty file.

    Raises:
        OSError: the folder is missing, or not writable, or the disk is full.

    Example:
        >>> with atomic_path("speech.json") as temporary:  # doctest: +SKIP
        ...     temporary.write_text("{}")
    """
    # NOTE: before links are followed: that of /dev/stdout to a pipe leads to no path.
    if is_special(path):
        yield Path(path)
        return
    target = Path(os.path.realpath(path))
    temporary = _temporary_beside(target)
    try:
        with _clear_errors(path):
            os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
            if target.exists():
                shutil.copymode(target, temporary)
            yield temporary
            _sync(temporary)
            os.replace(temporary, target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(target.parent)


@contextlib.contextmanager
def atomic_folder(path: str | Path) -> Iterator[Path]:
    """Lends a temporary folder beside `path`, which takes its place when the block succeeds.

    Args:
        path: where the folder is to stand; nothing or an empty folder may stand there now.

    Raises:
        ValueError: something stands there already.
        OSError: the folder above is missing, or not writable, or the disk is full.
    """
    target = Path(os.path.realpath(path))
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise ValueError(f"{path}: already there; remove it first or choose another folder")
    temporary = _temporary_beside(target)
    try:
        with _clear_errors(path):
            temporary.mkdir()
            yield temporary
            for file in temporary.rglob("*"):
                if file.is_file():
                    _sync(file)
            os.replace(temporary, target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
    _sync_folder(target.parent)


def _temporary_beside(target: Path) -> Path:
    if not target.parent.is_dir():
        raise FileNotFoundError(
            errno.ENOENT, "the folder to write into does not exist", str(target.parent)
        )
    if target.name == "":
        raise ValueError(f"{target}: not a name to write to")
    return target.with_name(f".{target.stem}.{secrets.token_hex(4)}.part{target.suffix}")


def is_special(path: str | Path) -> bool:
    """True for devices, pipes and sockets; a folder is an error of its own."""
    if not os.path.exists(path):
        return False
    mode = os.stat(path).st_mode
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def is_terminal(path: str | Path) -> bool:
    """True for a terminal under any name, such as /dev/stdout where that is one."""
    # NOTE: nothing but a device is opened: a pipe's reader would take the closing for the end.
    if not (os.path.exists(path) and stat.S_ISCHR(os.stat(path).st_mode)):
        return False
    descriptor = os.open(path, os.O_WRONLY | os.O_NOCTTY)
    try:
        return os.isatty(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _clear_errors(path: str | Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        message = "the disk is full; nothing was left behind"
        raise OSError(error.errno, message, str(path)) from error


def _sync(path: Path) -> None:
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Makes a rename last through a power cut, where the system lets folders be synced."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
