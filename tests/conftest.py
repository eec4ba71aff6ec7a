"""Fixtures that many tests share."""

import contextlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path

# Tiny models gain nothing from a second thread, and where other work keeps a core busy they wait
# for it a hundred times longer than they compute. Set before torch is imported, for processes too.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch

from fireredtts2.serving.secrets_filter import NAMES
from tests.tiny import write_checkpoint


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole checkpoint folder of a tiny random model; do not write into it."""
    return write_checkpoint(tmp_path_factory.mktemp("tiny") / "checkpoint")


#: Whose settings commands and servers change for a whole process.
LOGS = (*NAMES, "fireredtts2.engine", "fireredtts2.narration")


@contextlib.contextmanager
def logs_as_they_were() -> Iterator[None]:
    """Levels and handlers, and the handlers' formatters: a server puts one that hides its keys
    before every handler there is, pytest's among them."""
    logs = [logging.getLogger(name) for name in LOGS]
    before = [(log.level, log.propagate, list(log.handlers)) for log in logs]
    handlers = [handler for log in logs for handler in log.handlers]
    formatters = [handler.formatter for handler in handlers]
    yield
    for log, (level, propagate, own_handlers) in zip(logs, before, strict=True):
        log.setLevel(level)
        log.propagate, log.handlers[:] = propagate, own_handlers
    for handler, formatter in zip(handlers, formatters, strict=True):
        handler.setFormatter(formatter)


@pytest.fixture(autouse=True)
def log_as_it_was() -> Iterator[None]:
    """The command line sets its log up for a whole process; here others follow."""
    with logs_as_they_were():
        yield


@pytest.fixture(autouse=True, scope="module")
def log_as_it_was_before_the_file() -> Iterator[None]:
    """The same for servers that a whole file shares, which start before its first test does."""
    with logs_as_they_were():
        yield


@pytest.fixture(autouse=True)
def threads_as_they_were() -> Iterator[None]:
    """Recipes and benchmarks set their number for a whole process; here others follow."""
    before = torch.get_num_threads()
    yield
    if torch.get_num_threads() != before:
        torch.set_num_threads(before)
