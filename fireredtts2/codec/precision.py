"""Float32 that is float32: NVIDIA GPUs round the inputs of convolutions to TF32 unless told."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import torch

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


def exact_convolutions(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
    """Lets cuDNN compute a function's convolutions in full float32.

    TF32 keeps 10 bits of mantissa: too few for codes that shall be those of the CPU.
    """

    @wraps(function)
    def exact(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        if not torch.cuda.is_available():
            return function(*args, **kwargs)
        with torch.backends.cudnn.flags(enabled=True, allow_tf32=False):
            return function(*args, **kwargs)

    return exact
