"""Small models on a CPU get one thread, unless somebody has said otherwise."""

import pytest
import torch

from fireredtts2 import FireRedTTS2
from fireredtts2.checkpoint import CheckpointFolder
from fireredtts2.engine import threads
from tests import tiny

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def three(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    torch.set_num_threads(3)


def test_a_small_model_gets_one() -> None:
    threads.use_suited_threads(CheckpointFolder("mini").llm_config, CPU)
    assert torch.get_num_threads() == 1


def test_a_large_one_keeps_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "SMALL_DIM", 16)
    threads.use_suited_threads(tiny.llm_config(), CPU)
    assert torch.get_num_threads() == 3


def test_on_a_card_nothing_changes() -> None:
    threads.use_suited_threads(tiny.llm_config(), torch.device("cuda"))
    assert torch.get_num_threads() == 3


def test_the_environment_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    threads.use_suited_threads(tiny.llm_config(), CPU)
    assert torch.get_num_threads() == 3


@pytest.mark.parametrize(("given", "expected"), [(None, 3), (2, 2), ("auto", 1)])
def test_it_is_asked_for_by_name(tiny_checkpoint, given, expected: int) -> None:
    FireRedTTS2(tiny_checkpoint, device="cpu", num_threads=given)
    assert torch.get_num_threads() == expected
