"""Which device and number type to compute with."""

from __future__ import annotations

from typing import Literal, get_args

import torch

from fireredtts2.llm.fused import WeightKind

DTypeName = Literal["auto", "float32", "bfloat16", "int8", "fp8"]


def available_devices() -> list[str]:
    """Kinds of device that are there, the best first."""
    found = []
    if torch.cuda.is_available():
        found.append("cuda")
    if torch.backends.mps.is_available():
        found.append("mps")
    return [*found, "cpu"]


def resolve_device(name: str | torch.device) -> torch.device:
    """The device of this name; "auto" is the best that is there.

    Raises:
        ValueError: unknown, or not there; names what is.
    """
    available = available_devices()
    if name == "auto":
        return torch.device(available[0])
    allowed = f"this machine has: auto, {', '.join(available)}"
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError):
        raise ValueError(f"unknown device {name!r}; {allowed}") from None
    count = torch.cuda.device_count() if device.type == "cuda" else 1
    if device.type not in available or (device.index or 0) >= count:
        raise ValueError(f"device {str(name)!r} is not there; {allowed} ({count} of that kind)")
    return device


def resolve_devices(names: str | torch.device) -> list[torch.device]:
    """One device, or several as in "cuda:0,cuda:1".

    Raises:
        ValueError: one of them is unknown or not there, or they are of several kinds.
    """
    if not isinstance(names, str):
        return [resolve_device(names)]
    devices = [resolve_device(name.strip()) for name in names.split(",")]
    if len({device.type for device in devices}) > 1:
        raise ValueError(f"device {names!r}: several must be of one kind")
    return devices


def resolve_dtype(
    name: DTypeName, use_bf16: bool, device_name: str | torch.device, device: torch.device
) -> WeightKind:
    """What the language model's weights are.

    "auto" is bfloat16 where asked for, or where the device was chosen automatically and is a GPU
    of NVIDIA; elsewhere float32, as in the published program.

    Raises:
        ValueError: unknown type, two that contradict each other, or 8 bits on a device without.
    """
    if name not in get_args(DTypeName):
        raise ValueError(f"dtype {name!r}; allowed: {', '.join(get_args(DTypeName))}")
    if use_bf16 and name not in ("auto", "bfloat16"):
        raise ValueError(f"use_bf16=True and dtype={name!r} contradict each other; give one")
    if (name == "fp8" and device.type != "cuda") or (name == "int8" and device.type == "mps"):
        raise ValueError(f"dtype {name!r} is not for {device.type}; there, take bfloat16")
    if name != "auto":
        return name
    chosen = device_name == "auto" and device.type == "cuda"
    return "bfloat16" if use_bf16 or chosen else "float32"
