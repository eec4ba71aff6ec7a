"""Fixtures that many tests share."""

import logging
import os
from collections.abc import Iterator
from pathlib import Path

# Tiny models gain nothing from a second thread, and where other work keeps a core busy they wait
# for it a hundred times longer than they compute. Set before torch is imported, for processes too.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
import torch

from tests.tiny import write_checkpoint


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole checkpoint folder of a tiny random model; do not write into it."""
    return write_checkpoint(tmp_path_factory.mktemp("tiny") / "checkpoint")


@pytest.fixture(autouse=True)
def log_as_it_was() -> Iterator[None]:
    """The command line sets its log up for a whole process; here others follow."""
    top = logging.getLogger("fireredtts2")
    handlers, propagate = list(top.handlers), top.propagate
    logs = [top, *(logging.getLogger(f"fireredtts2.{part}") for part in ("engine", "narration"))]
    levels = [log.level for log in logs]
    yield
    top.handlers[:], top.propagate = handlers, propagate
    for log, level in zip(logs, levels, strict=True):
        log.setLevel(level)


@pytest.fixture(autouse=True)
def threads_as_they_were() -> Iterator[None]:
    """Recipes and benchmarks set their number for a whole process; here others follow."""
    before = torch.get_num_threads()
    yield
    if torch.get_num_threads() != before:
        torch.set_num_threads(before)
