"""The progress bar: which turn, how much is done, how long it will still take."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)

from fireredtts2.speech import Progress as SpeechProgress

SECONDS_PER_MINUTE = 60


@contextlib.contextmanager
def speech_progress(quiet: bool) -> Iterator[Callable[[SpeechProgress], None]]:
    """Lends a callback for `on_progress`; it shows nothing where nobody looks."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[left]}"),
    )
    with Progress(*columns, console=_console(quiet), transient=True) as bar:
        task = bar.add_task("loading", total=None, left="")

        def show(progress: SpeechProgress) -> None:
            turn = min(progress.turn_index + 1, progress.num_turns)
            bar.update(
                task,
                description=f"turn {turn} of {progress.num_turns}",
                total=1.0,
                completed=progress.fraction,
                left=f"{clock(progress.left_s)} left",
            )

        yield show


@contextlib.contextmanager
def count_progress(what: str, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """Lends a callback that is told how many of something are done, and of how many."""
    columns = (what, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=_console(quiet), transient=True) as bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


@contextlib.contextmanager
def download_progress(quiet: bool) -> Iterator[Callable[[str, int, int], None]]:
    """Lends a callback that is told a file's name, the bytes there and its size."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=_console(quiet)) as bar:
        tasks: dict[str, TaskID] = {}

        def show(name: str, num_bytes: int, total: int) -> None:
            if name not in tasks:
                tasks[name] = bar.add_task(name, total=total)
            bar.update(tasks[name], completed=num_bytes)

        yield show


def clock(seconds: float) -> str:
    """Seconds as m:ss."""
    minutes, rest = divmod(round(seconds), SECONDS_PER_MINUTE)
    return f"{minutes}:{rest:02}"


def _console(quiet: bool) -> Console:
    return Console(stderr=True, quiet=quiet or not sys.stderr.isatty())
