"""Servers in processes of their own, started and ended by tests."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

ROOT = Path(__file__).resolve().parents[2]
Found = TypeVar("Found")


def program(name: str) -> str | None:
    """A program beside this Python, or on the path."""
    beside = Path(sys.executable).parent
    return shutil.which(name, path=f"{beside}{os.pathsep}{os.environ.get('PATH', '')}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def environment(**values: object) -> dict[str, str]:
    """This process's, without settings of a server that happen to be in it, and with some more."""
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("FIREREDTTS2_", "RUNPOD_")) and name != "PORT"
    }
    given = {name: str(value) for name, value in values.items()}
    return {**inherited, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", **given}


def python(*arguments: object, env: Mapping[str, str], log: Path) -> subprocess.Popen[bytes]:
    """Starts `python ARGUMENTS...` in the folder of its log."""
    with log.open("wb") as output:
        return subprocess.Popen(
            [sys.executable, *map(str, arguments)],
            env=dict(env),
            cwd=log.parent,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=subprocess.STDOUT,
        )


def stop(process: subprocess.Popen[bytes], timeout_s: float = 20) -> int:
    """Asks it to end, and makes it."""
    if process.stdin is not None:
        process.stdin.close()
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
    return process.wait(timeout_s)


def until(found: Callable[[], Found | None], timeout_s: float, what: str) -> Found:
    """What a call returns once it returns something."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        result = found()
        if result:
            return result
        time.sleep(0.05)
    raise AssertionError(f"{what}: not within {timeout_s} s")
