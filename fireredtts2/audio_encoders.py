"""Encoders: float32 samples in, bytes of a WAV, FLAC, MP3, Opus, AAC or raw stream out."""

from __future__ import annotations

import contextlib
import struct
from fractions import Fraction
from typing import BinaryIO, Literal, Protocol, cast

import av
import av.error
import numpy as np
from av.audio.stream import AudioStream

AudioFormat = Literal["wav", "wav_float", "flac", "mp3", "opus", "aac", "pcm"]

INT16_SCALE = 32_768  # as readers divide, so that 16-bit samples come back the same
INT16_MAX = 32_767
#: A WAV whose length is not known yet, as FFmpeg and SoX write it to a pipe.
UNKNOWN_BYTES = 0xFFFF_FFFF
WAVE_FORMAT_PCM = 1
WAVE_FORMAT_FLOAT = 3
MP3_BITS_PER_S = 96_000
OPUS_BITS_PER_S = 48_000
AAC_BITS_PER_S = 96_000
OPUS_PAGE_US = 20_000
#: container, codec and bits per second
AV_CODECS: dict[str, tuple[str, str, int | None]] = {
    "flac": ("flac", "flac", None),
    "mp3": ("mp3", "libmp3lame", MP3_BITS_PER_S),
    "opus": ("ogg", "libopus", OPUS_BITS_PER_S),
    "aac": ("adts", "aac", AAC_BITS_PER_S),
}
#: Other rates are resampled to the highest.
AV_RATES_HZ = {
    "mp3": (8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000),
    "opus": (8_000, 12_000, 16_000, 24_000, 48_000),
}


class Encoder(Protocol):
    """Writes to the sink that it was made with; it never closes the sink."""

    def write(self, audio: np.ndarray) -> None:
        """Adds (n,) float32 samples within -1 and 1."""

    def close(self) -> None:
        """Writes what is left."""

    def abort(self) -> None:
        """Lets go of what is held, without another error."""


def make_encoder(format: AudioFormat, rate_hz: int, sink: BinaryIO) -> Encoder:
    """The encoder of a format."""
    if format in AV_CODECS:
        return AvEncoder(format, rate_hz, sink)
    if format == "pcm":
        return PcmEncoder(sink)
    return WavEncoder(rate_hz, sink, is_float=format == "wav_float")


def to_int16(audio: np.ndarray) -> bytes:
    """Little-endian 16-bit samples."""
    return np.minimum(np.round(audio * INT16_SCALE), INT16_MAX).astype("<i2").tobytes()


class PcmEncoder:
    """Bare 16-bit little-endian samples, one channel."""

    def __init__(self, sink: BinaryIO) -> None:
        self._sink = sink

    def write(self, audio: np.ndarray) -> None:
        self._sink.write(to_int16(audio))

    def close(self) -> None:
        """Nothing is held back."""

    def abort(self) -> None:
        """Nothing is held."""


class WavEncoder:
    """WAV, whose header says "length unknown" until the end, and for ever in a pipe."""

    def __init__(self, rate_hz: int, sink: BinaryIO, is_float: bool) -> None:
        self._sink = sink
        self._rate_hz = rate_hz
        self._is_float = is_float
        self._start = sink.tell() if _is_seekable(sink) else None
        self._data_bytes = 0
        sink.write(self._header(UNKNOWN_BYTES))

    def write(self, audio: np.ndarray) -> None:
        data = audio.astype("<f4").tobytes() if self._is_float else to_int16(audio)
        self._sink.write(data)
        self._data_bytes += len(data)

    def close(self) -> None:
        if self._start is None:
            return
        end = self._sink.tell()
        self._sink.seek(self._start)
        self._sink.write(self._header(self._data_bytes))
        self._sink.seek(end)

    def abort(self) -> None:
        """Nothing is held."""

    def _header(self, data_bytes: int) -> bytes:
        tag, width = (WAVE_FORMAT_FLOAT, 4) if self._is_float else (WAVE_FORMAT_PCM, 2)
        sizes = (self._rate_hz, self._rate_hz * width, width, 8 * width)
        form = struct.pack("<HHIIHH", tag, 1, *sizes)
        chunks = _chunk(b"fmt ", form + (b"\0\0" if self._is_float else b""))
        if self._is_float:
            num_samples = min(data_bytes // width, UNKNOWN_BYTES)
            chunks += _chunk(b"fact", struct.pack("<I", num_samples))
        riff_bytes = min(4 + len(chunks) + 8 + data_bytes, UNKNOWN_BYTES)
        data_head = b"data" + struct.pack("<I", min(data_bytes, UNKNOWN_BYTES))
        return b"RIFF" + struct.pack("<I", riff_bytes) + b"WAVE" + chunks + data_head


class AvEncoder:
    """FLAC, MP3, Opus and AAC through FFmpeg; every packet goes out as soon as it is made."""

    def __init__(self, format: str, rate_hz: int, sink: BinaryIO) -> None:
        container, codec, bits_per_s = AV_CODECS[format]
        rates = AV_RATES_HZ.get(format, (rate_hz,))
        options = {"flush_packets": "1"}
        if format == "opus":
            options["page_duration"] = str(OPUS_PAGE_US)
        if format == "mp3" and not _is_seekable(sink):
            options["write_xing"] = "0"
        self._sink = _AvSink(sink)
        self._container = av.open(self._sink, "w", format=container, options=options)
        encoded_hz = rate_hz if rate_hz in rates else max(rates)
        stream = self._container.add_stream(codec, rate=encoded_hz, layout="mono")
        self._stream = cast(AudioStream, stream)
        if bits_per_s is not None:
            self._stream.bit_rate = bits_per_s
        self._rate_hz = rate_hz
        self._num_samples = 0

    def write(self, audio: np.ndarray) -> None:
        if audio.size == 0:
            return
        frame = av.AudioFrame.from_ndarray(audio[None], format="flt", layout="mono")
        frame.sample_rate = self._rate_hz
        frame.time_base = Fraction(1, self._rate_hz)
        frame.pts = self._num_samples
        self._num_samples += audio.size
        self._container.mux(self._stream.encode(frame))

    def close(self) -> None:
        if self._num_samples:
            self._container.mux(self._stream.encode(None))
        self._container.close()

    def abort(self) -> None:
        # The sink may be what failed: writing the trailer to it would fail once more.
        self._sink.is_closed = True
        with contextlib.suppress(OSError, ValueError, av.error.FFmpegError):
            self._container.close()


class _AvSink:
    """The sink as FFmpeg sees it: without `seek` for a pipe, and quiet once given up."""

    def __init__(self, sink: BinaryIO) -> None:
        self._sink = sink
        self.is_closed = False
        if _is_seekable(sink):  # PyAV looks whether the methods are there
            self.seek = self._seek
            self.tell = sink.tell

    def write(self, data: bytes) -> int:
        return len(data) if self.is_closed else self._sink.write(data)

    def _seek(self, offset: int, whence: int = 0) -> int:
        return 0 if self.is_closed else self._sink.seek(offset, whence)


def _chunk(name: bytes, body: bytes) -> bytes:
    return name + struct.pack("<I", len(body)) + body


def _is_seekable(sink: BinaryIO) -> bool:
    return bool(getattr(sink, "seekable", bool)())
