"""One turn's sound: chunks to the bytes of one file or stream."""

from __future__ import annotations

import numpy as np

from fireredtts2.audio_writer import AudioStreamWriter
from fireredtts2.config import OUTPUT_RATE_HZ
from fireredtts2.serving.audio_stream import Spool
from fireredtts2.serving.marking import marked
from fireredtts2.serving.schemas import ResponseFormat
from fireredtts2.serving.tempo import Tempo
from fireredtts2.watermark import Marker


class VoiceTrack:
    """An encoder that is fed while its bytes are taken.

    Args:
        format: of the bytes.
        speed: 1 as it was spoken.
        rate_hz: of the bytes.
        marker: of this turn's watermark.
    """

    def __init__(
        self,
        format: ResponseFormat,
        speed: float = 1.0,
        rate_hz: int = OUTPUT_RATE_HZ,
        marker: Marker | None = None,
    ) -> None:
        self._marker = marker
        self._spool = Spool()
        self._tempo = None if speed == 1.0 else Tempo(speed, OUTPUT_RATE_HZ)
        self._resampler = None if rate_hz == OUTPUT_RATE_HZ else _resampler(rate_hz)
        # The sink is ours: of what is written to it, nothing can fail.
        self._writer = AudioStreamWriter(format, rate_hz, self._spool)  # type: ignore[arg-type]

    def push(self, audio: np.ndarray) -> bytes:
        """(n,) float32 at 24 kHz; what there is of the bytes."""
        return self._written(audio if self._tempo is None else self._tempo.push(audio))

    def end(self) -> bytes:
        """The last bytes."""
        rest = np.zeros(0, np.float32) if self._tempo is None else self._tempo.flush()
        data = self._written(rest, is_last=True)
        self._writer.close()
        return data + self._spool.take()

    def _written(self, audio: np.ndarray, is_last: bool = False) -> bytes:
        audio = marked(audio, self._marker, is_last)
        if self._resampler is not None:
            audio = self._resampler.resample_chunk(audio, last=is_last)
        if audio.size:
            self._writer.write(audio)
        return self._spool.take()


def _resampler(rate_hz: int):  # type: ignore[no-untyped-def]
    import soxr

    return soxr.ResampleStream(OUTPUT_RATE_HZ, rate_hz, 1, dtype="float32")
