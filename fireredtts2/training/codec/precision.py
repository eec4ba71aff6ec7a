"""In which type layers compute."""

from __future__ import annotations

import contextlib

import torch


def computing_in(
    device: torch.device, precision: torch.dtype | None
) -> contextlib.AbstractContextManager:
    """Autocast to a type on a device; None leaves everything as it is."""
    if precision is None:
        return contextlib.nullcontext()
    return torch.autocast(device.type, precision)
