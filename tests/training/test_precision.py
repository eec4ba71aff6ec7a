"""Training computes in bfloat16 only where that is quick."""

from __future__ import annotations

import platform

import pytest
import torch

from fireredtts2.training import precision
from fireredtts2.training.muon import orthogonalize
from fireredtts2.training.precision import (
    CPU,
    computing_quickly,
    is_quick_in_bfloat16,
    resolve_precision,
)


@pytest.fixture(params=[True, False], ids=["quick", "slow"])
def is_quick(request, monkeypatch):
    """A processor with or without what bfloat16 needs."""
    monkeypatch.setattr(precision, "is_quick_in_bfloat16", lambda device: request.param)
    return request.param


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="of Intel's and AMD's")
def test_x86_is_quick_with_avx512():
    assert is_quick_in_bfloat16(CPU) == (torch.backends.cpu.get_cpu_capability() == "AVX512")


def test_auto_is_what_is_quick(is_quick):
    assert resolve_precision("auto", CPU) == (torch.bfloat16 if is_quick else None)


def test_a_named_precision_is_taken_at_its_word(is_quick):
    assert resolve_precision("bfloat16", CPU) == torch.bfloat16
    assert resolve_precision("float32", CPU) is None


def test_products_are_of_the_quick_type(is_quick):
    with computing_quickly(CPU):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == (torch.bfloat16 if is_quick else torch.float32)


def test_muon_makes_singular_values_alike_in_either_type(is_quick):
    matrices = torch.randn(3, 8, 20, generator=torch.Generator().manual_seed(0))
    made = orthogonalize(matrices)
    assert made.dtype == torch.float32
    values = torch.linalg.svdvals(made)
    assert 0.5 < values.min() < values.max() < 1.3  # as near as the quintic comes
