"""Sound on disk while it is made: bare samples that may be read before they are all there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

import numpy as np

from fireredtts2.config import OUTPUT_RATE_HZ

SUFFIX = ".pcm"
UNFINISHED_SUFFIX = ".part"
BYTES_PER_SAMPLE = 2
PEAKS_HZ = 25  # of the picture
SAMPLES_PER_PEAK = OUTPUT_RATE_HZ // PEAKS_HZ
#: Speech is drawn as full at this level; half of full scale.
FULL_HEIGHT = 16_384


class GrowingSound:
    """A turn's sound while it is spoken: written by one thread, read by others meanwhile.

    Args:
        folder: of the work.
        name: of the sound, without a suffix.

    Raises:
        OSError: the file cannot be made.
    """

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        self._path = folder / f"{name}{SUFFIX}"
        self._unfinished = folder / f"{name}{UNFINISHED_SUFFIX}"
        self._file = self._unfinished.open("wb")
        self._num_bytes, self._is_over = 0, False
        self._odd = b""

    @property
    def num_samples(self) -> int:
        """Written so far."""
        return self._num_bytes // BYTES_PER_SAMPLE

    def write(self, data: bytes) -> None:
        """More samples, 16 bits, little-endian; half a sample waits for its other half.

        Raises:
            OSError: the disk is full.
        """
        data = self._odd + data
        whole = len(data) - len(data) % BYTES_PER_SAMPLE
        data, self._odd = data[:whole], data[whole:]
        self._file.write(data)
        self._file.flush()
        self._num_bytes += len(data)

    def finish(self) -> None:
        """All is written: the file gets its name.

        Raises:
            OSError: it cannot be kept.
        """
        os.fsync(self._file.fileno())
        self._file.close()
        self._unfinished.rename(self._path)
        self._is_over = True

    def drop(self) -> None:
        """It is not wanted, or not whole: the file goes."""
        self._file.close()
        self._unfinished.unlink(missing_ok=True)
        self._is_over = True

    @property
    def is_over(self) -> bool:
        """Whether nothing more comes."""
        return self._is_over

    def open(self) -> BinaryIO:
        """Its file, to be read from the beginning; there is more in it the later one reads.

        Raises:
            FileNotFoundError: it is finished, or was dropped.
        """
        return self._unfinished.open("rb")

    def peaks(self) -> bytes:
        """As `peaks_of`, of what there is so far."""
        return peaks_of(self._unfinished)


def sound_path(folder: Path, name: str) -> Path:
    """The file of a sound that is whole."""
    return folder / f"{name}{SUFFIX}"


def read_sound(folder: Path, name: str) -> np.ndarray:
    """(samples,) int16 of a sound that is whole; mapped, not loaded.

    Raises:
        OSError: it is not there.
    """
    path = sound_path(folder, name)
    if path.stat().st_size < BYTES_PER_SAMPLE:
        return np.zeros(0, np.int16)
    return np.memmap(path, "<i2", "r")


def peaks_of(path: Path) -> bytes:
    """The height of the sound in every 40 ms, 0 to 255 each; empty where it cannot be read."""
    try:
        samples = np.fromfile(path, "<i2")
    except OSError:
        return b""
    if not len(samples):
        return b""
    padded = np.pad(samples, (0, -len(samples) % SAMPLES_PER_PEAK)).reshape(-1, SAMPLES_PER_PEAK)
    height = np.abs(padded.astype(np.int32)).max(axis=1)
    return bytes(np.minimum(height * 255 // FULL_HEIGHT, 255).astype(np.uint8))
