"""In which type training computes: bfloat16 where the device is quick in it, else float32.

A processor without instructions for bfloat16 multiplies it one number after the other: on one with
AVX2 alone, 50 times slower than float32.
"""

from __future__ import annotations

import contextlib
from typing import Literal

import torch

#: As recipes name it; "auto" is bfloat16 where that is quick.
Precision = Literal["auto", "bfloat16", "float32"]
CPU = torch.device("cpu")


def is_quick_in_bfloat16(device: torch.device) -> bool:
    """Whether a device multiplies bfloat16 no slower than float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        # NOTE: torch's own question before it hands bfloat16 to oneDNN, public in no form: AVX-512
        # or better (emulated as quickly as float32 without bfloat16's own instructions), or Arm's.
        has_onednn = torch.backends.mkldnn.is_available()
        return has_onednn and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    return True


def quick_type(device: torch.device) -> torch.dtype:
    """bfloat16 or float32: what "auto" stands for."""
    return torch.bfloat16 if is_quick_in_bfloat16(device) else torch.float32


def resolve_precision(name: Precision, device: torch.device) -> torch.dtype | None:
    """What `computing_in` takes for a recipe's word; None is float32."""
    wanted = quick_type(device) if name == "auto" else getattr(torch, name)
    return None if wanted == torch.float32 else wanted


def computing_in(
    device: torch.device, precision: torch.dtype | None
) -> contextlib.AbstractContextManager:
    """Autocast to a type on a device; None leaves everything as it is."""
    if precision is None:
        return contextlib.nullcontext()
    return torch.autocast(device.type, precision)


def computing_quickly(device: torch.device) -> contextlib.AbstractContextManager:
    """`computing_in` what "auto" stands for."""
    return computing_in(device, resolve_precision("auto", device))
