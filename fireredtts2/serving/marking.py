"""Watermarks in what a server sends: one mark a response, put in behind everything else."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack

import numpy as np
import torch

from fireredtts2.watermark import Marker

#: Makes a new mark for a response; None where there are to be none.
NewMarker = Callable[[], Marker | None]
Write = Callable[[torch.Tensor], None]


def unmarked() -> None:
    """What makes no mark."""


def marked(audio: np.ndarray, marker: Marker | None, is_last: bool = False) -> np.ndarray:
    """(n,) with the mark in it; what it holds back comes later, and at the end."""
    if marker is None:
        return audio
    out = marker.push(audio)
    return np.concatenate([out, marker.flush()]) if is_last else out


def marked_write(stack: ExitStack, write: Write, marker: Marker | None) -> Write:
    """A file's `write` with a mark in what is written; the rest follows when the stack ends well.

    Args:
        stack: that closes the file.
        write: of the file, which the stack has entered already.
        marker: of this file alone.
    """
    if marker is None:
        return write

    def push(audio: torch.Tensor) -> None:
        if len(out := marker.push(audio.numpy())):
            write(torch.from_numpy(out))

    def end(kind: object, *_: object) -> None:
        if kind is None and len(rest := marker.flush()):
            write(torch.from_numpy(rest))

    stack.push(end)
    return push
