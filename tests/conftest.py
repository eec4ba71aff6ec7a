"""Fixtures that many tests share."""

from pathlib import Path

import pytest

from tests.tiny import write_checkpoint


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A whole checkpoint folder of a tiny random model; do not write into it."""
    return write_checkpoint(tmp_path_factory.mktemp("tiny") / "checkpoint")
