"""Blocks made by one process or several; who makes a block changes nothing in it."""

from __future__ import annotations

import multiprocessing
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing.connection import wait
from pathlib import Path

import torch

from fireredtts2.checkpoint import CheckpointFolder
from fireredtts2.codec.codec import RedCodec
from fireredtts2.training.prepare.block import make_block
from fireredtts2.training.prepare.judge import Judge, MakeListener
from fireredtts2.training.prepare.options import PrepareOptions
from fireredtts2.training.prepare.recordings import Recording
from fireredtts2.training.prepare.text_judge import TextJudge

Job = tuple[Sequence[Recording], Path]
Told = Callable[[int], None]


class Worker:
    """What a process needs to make blocks."""

    def __init__(self, options: PrepareOptions, make_listener: MakeListener | None) -> None:
        folder = CheckpointFolder(options.model)
        self._judge = Judge(options, folder, make_listener)
        self._codec = load_codec(folder, options.device)

    def make(self, job: Job) -> int:
        """Makes a block; returns how many recordings it has."""
        recordings, path = job
        with one_thread():
            make_block(recordings, self._judge, self._codec, path)
        return len(recordings)


def load_codec(folder: CheckpointFolder, device: str) -> RedCodec:
    """The codec of a checkpoint."""
    codec = RedCodec(folder.codec_config)
    codec.load_state_dict(folder.read_codec())
    return codec.eval().to(device)


def check_model(options: PrepareOptions) -> None:
    """Loads all that is used of the checkpoint, so that what is wrong with it is told at once.

    Raises:
        ValueError, OSError or RuntimeError: it is missing, incomplete or damaged.
    """
    folder = CheckpointFolder(options.model)
    TextJudge(folder, options.limits)
    load_codec(folder, "cpu")


def run(
    jobs: Sequence[Job], options: PrepareOptions, make_listener: MakeListener | None, told: Told
) -> None:
    """Makes blocks.

    Args:
        jobs: recordings and path of each.
        options: `workers` says how many processes.
        make_listener: makes a recogniser; must be picklable for several processes.
        told: called with the number of recordings of each block that was finished.

    Raises:
        RuntimeError: a process died.
    """
    if options.workers == 1 or len(jobs) < 2:
        worker = Worker(options, make_listener)
        for job in jobs:
            told(worker.make(job))
        return
    pool = ProcessPoolExecutor(
        min(options.workers, len(jobs)),
        multiprocessing.get_context("spawn"),
        _start,
        (options, make_listener),
    )
    try:
        for done in as_completed(_submitted(pool, jobs)):
            told(done.result())
    except BrokenProcessPool:
        raise RuntimeError(
            "a process of --workers ended by itself, perhaps for want of memory; run the command "
            "again to go on, with fewer of them"
        ) from None
    finally:
        pool.shutdown(cancel_futures=True)


def _submitted(pool: ProcessPoolExecutor, jobs: Sequence[Job]) -> list[Future[int]]:
    return [pool.submit(_make, job) for job in jobs]


@contextmanager
def one_thread() -> Iterator[None]:
    """Sums in the same order everywhere: the number of threads could change the last digits."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


#: Of this process, set once when it starts as one of several.
_WORKER: list[Worker] = []


def _start(options: PrepareOptions, make_listener: MakeListener | None) -> None:
    _end_with_parent()
    _WORKER.append(Worker(options, make_listener))


def _make(job: Job) -> int:
    return _WORKER[0].make(job)


def _end_with_parent() -> None:
    """Where the first process is killed, its workers would wait for it forever."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
