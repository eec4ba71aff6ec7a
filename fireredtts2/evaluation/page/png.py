"""PNG files of numbers: a matrix as a picture in false colours."""

from __future__ import annotations

import struct
import zlib

import numpy as np

SIGNATURE = b"\x89PNG\r\n\x1a\n"
PALETTE_TYPE = 3
#: From the lowest to the highest value; dark to light in even steps, so that it reads in grey too.
ANCHORS = np.array(
    [(4, 4, 20), (60, 15, 110), (140, 41, 129), (221, 73, 104), (253, 159, 108), (252, 253, 191)]
)


def png(values: np.ndarray) -> bytes:
    """A picture of `values` (height, width) within 0 and 1, the first row on top.

    Raises:
        ValueError: not a matrix with at least one row and one column.
    """
    if values.ndim != 2 or 0 in values.shape:
        raise ValueError(f"expected values (height, width), got {values.shape}")
    height, width = values.shape
    pixels = np.round(np.clip(values, 0, 1) * 255).astype(np.uint8)
    # Every line begins with its filter; 0 is none.
    lines = np.concatenate([np.zeros((height, 1), np.uint8), pixels], axis=1)
    header = struct.pack(">IIBBBBB", width, height, 8, PALETTE_TYPE, 0, 0, 0)
    chunks = (
        (b"IHDR", header),
        (b"PLTE", _palette().tobytes()),
        (b"IDAT", zlib.compress(lines.tobytes(), 9)),
        (b"IEND", b""),
    )
    return SIGNATURE + b"".join(_chunk(kind, data) for kind, data in chunks)


def _palette() -> np.ndarray:
    """Colours (256, 3) between the anchors."""
    places = np.linspace(0, len(ANCHORS) - 1, 256)
    channels = [np.interp(places, range(len(ANCHORS)), ANCHORS[:, c]) for c in range(3)]
    return np.round(np.stack(channels, axis=1)).astype(np.uint8)


def _chunk(kind: bytes, data: bytes) -> bytes:
    check = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", check)
