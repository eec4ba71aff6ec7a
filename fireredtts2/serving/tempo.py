"""Faster or slower speech at the same pitch, as it comes."""

from __future__ import annotations

from collections.abc import Iterator

import av
import av.filter
import numpy as np

#: What one filter of FFmpeg changes well; slower than half takes two.
SLOWEST = 0.5


class Tempo:
    """FFmpeg's `atempo` over chunks of (n,) float32 samples.

    Args:
        speed: 2 says it in half the time.
        rate_hz: of the samples.
    """

    def __init__(self, speed: float, rate_hz: int) -> None:
        self._rate_hz = rate_hz
        self._num_samples = 0
        graph = av.filter.Graph()
        source = graph.add_abuffer(sample_rate=rate_hz, format="flt", layout="mono")
        last = source
        for factor in factors(speed):
            tempo = graph.add("atempo", str(factor))
            last.link_to(tempo)
            last = tempo
        sink = graph.add("abuffersink")
        last.link_to(sink)
        graph.configure()
        self._graph = graph

    def push(self, audio: np.ndarray) -> np.ndarray:
        """What comes out so far, (m,) float32."""
        if audio.size == 0:
            return audio
        frame = av.AudioFrame.from_ndarray(audio[None], format="flt", layout="mono")
        frame.sample_rate = self._rate_hz
        frame.pts = self._num_samples
        self._num_samples += audio.size
        self._graph.push(frame)
        return self._pulled()

    def flush(self) -> np.ndarray:
        """What is left."""
        self._graph.push(None)
        return self._pulled()

    def _pulled(self) -> np.ndarray:
        return np.concatenate([np.zeros(0, np.float32), *self._frames()])

    def _frames(self) -> Iterator[np.ndarray]:
        while True:
            try:
                yield self._graph.pull().to_ndarray().reshape(-1).astype(np.float32)
            except (av.error.BlockingIOError, av.error.EOFError):
                return


def factors(speed: float) -> list[float]:
    """A speed as a product of what one filter does well."""
    return [SLOWEST, speed / SLOWEST] if speed < SLOWEST else [speed]
