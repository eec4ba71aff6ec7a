"""Puts a mark into speech while it streams."""

from __future__ import annotations

import numpy as np

from fireredtts2.watermark.pattern import (
    CELL_HOPS,
    FRAME_SAMPLES,
    HOP_SAMPLES,
    PAIRS,
    WatermarkKey,
    band_edges,
)

#: How far a cell is raised or lowered: beside the signal, noise of its own shape 19 dB below it.
STRENGTH_DB = 1.25
PERIOD_HOPS = 2 * CELL_HOPS * PAIRS
#: Squared and added up over half overlapped frames this is 1 everywhere.
WINDOW = np.sin(np.pi * (np.arange(FRAME_SAMPLES) + 0.5) / FRAME_SAMPLES).astype(np.float32)


class Marker:
    """Marks one stream.

    What goes in comes out as much later as it must: never more than 40 ms are held back, and the
    whole is as long as it was, sample for sample in its place. Any pieces give the same.

    Args:
        key: of the mark.
        strength_db: how far cells are raised and lowered.

    Example:
        >>> marker = Marker(WatermarkKey("a long secret", 7))
        >>> marked = np.concatenate([marker.push(np.zeros(1_920)), marker.flush()])
        >>> marked.shape
        (1920,)
    """

    def __init__(self, key: WatermarkKey, strength_db: float = STRENGTH_DB) -> None:
        self._gains = gains(key, strength_db)
        # The first frame lies half before the beginning.
        self._waiting = np.zeros(HOP_SAMPLES, np.float32)
        self._tail = np.zeros(HOP_SAMPLES, np.float32)
        self._hop = 0
        self._num_in, self._num_out = 0, 0

    def push(self, audio: np.ndarray) -> np.ndarray:
        """Takes (n,) float32 at 24 kHz; gives what is ready, (m,) float32, perhaps nothing."""
        audio = np.asarray(audio, np.float32)
        self._num_in += len(audio)
        self._waiting = np.concatenate([self._waiting, audio])
        return self._ready()

    def flush(self) -> np.ndarray:
        """What was held back; the stream has ended."""
        left = self._num_in - self._num_out
        self._waiting = np.concatenate([self._waiting, np.zeros(2 * FRAME_SAMPLES, np.float32)])
        return self._ready()[:left]

    def _ready(self) -> np.ndarray:
        num_hops = max(0, (len(self._waiting) - FRAME_SAMPLES) // HOP_SAMPLES + 1)
        if not num_hops:
            return np.zeros(0, np.float32)
        starts = HOP_SAMPLES * np.arange(num_hops)[:, None]
        frames = self._waiting[starts + np.arange(FRAME_SAMPLES)] * WINDOW
        hops = (self._hop + np.arange(num_hops)) % PERIOD_HOPS
        spectra = np.fft.rfft(frames) * self._gains[hops]
        made = np.fft.irfft(spectra, FRAME_SAMPLES).astype(np.float32) * WINDOW
        first, second = made[:, :HOP_SAMPLES], made[:, HOP_SAMPLES:]
        before = np.concatenate([self._tail[None], second[:-1]])
        out = (first + before).reshape(-1)
        if self._hop == 0:
            out = out[HOP_SAMPLES:]  # lies before the beginning
        self._tail = second[-1]
        self._waiting = self._waiting[num_hops * HOP_SAMPLES :]
        self._hop += num_hops
        self._num_out += len(out)
        return out


def gains(key: WatermarkKey, strength_db: float) -> np.ndarray:
    """(hops of a period, bins) float32: what each bin of each frame is multiplied by."""
    edges = band_edges()
    step = 10 ** (strength_db / 20)
    raised = np.repeat(key.pattern, CELL_HOPS, axis=0).reshape(PAIRS, CELL_HOPS, -1)
    halves = np.concatenate([raised, -raised], axis=1).reshape(PERIOD_HOPS, -1)
    table = np.ones((PERIOD_HOPS, FRAME_SAMPLES // 2 + 1), np.float32)
    factors = step ** halves.astype(np.float32)
    table[:, edges[0] : edges[-1]] = np.repeat(factors, np.diff(edges), axis=1)
    return table
