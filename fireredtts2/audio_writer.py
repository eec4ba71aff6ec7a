"""Audio out: whole files, or a stream to a file, a pipe or standard output while it is made."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast, get_args

import numpy as np
import torch

from fireredtts2.atomic_file import atomic_path, is_special
from fireredtts2.audio_encoders import AudioFormat, make_encoder
from fireredtts2.config import OUTPUT_RATE_HZ

AudioTarget = str | Path | BinaryIO

STANDARD_OUTPUT = "-"
SUFFIX_FORMATS: dict[str, AudioFormat] = {
    ".wav": "wav",
    ".flac": "flac",
    ".mp3": "mp3",
    ".opus": "opus",
    ".ogg": "opus",
    ".aac": "aac",
    ".pcm": "pcm",
    ".raw": "pcm",
}


def audio_format(target: AudioTarget, format: str | None = None) -> AudioFormat:
    """The format asked for, or else the one that the target's extension means.

    Standard output, open files, and pipes and devices whose name means no format are WAV by
    default.

    Raises:
        ValueError: an unknown format or extension; lists those that there are.
    """
    allowed = get_args(AudioFormat)
    if format is not None:
        if format not in allowed:
            raise ValueError(f"format {format!r}; allowed: {', '.join(allowed)}")
        return cast(AudioFormat, format)
    if not isinstance(target, str | Path) or str(target) == STANDARD_OUTPUT:
        return "wav"
    suffix = Path(target).suffix.lower()
    if suffix not in SUFFIX_FORMATS:
        if is_special(target):
            return "wav"
        known = ", ".join(SUFFIX_FORMATS)
        raise ValueError(f"{target}: extension {suffix!r}; known: {known}; or name a format")
    return SUFFIX_FORMATS[suffix]


def write_audio(
    target: AudioTarget,
    audio: torch.Tensor | np.ndarray,
    rate_hz: int = OUTPUT_RATE_HZ,
    format: str | None = None,
) -> None:
    """Writes a whole clip; a file appears complete or not at all.

    Args:
        target: path, "-" for standard output, or a binary file.
        audio: (samples,) or (1, samples); values beyond full scale are clipped.
        rate_hz: the rate of `audio`.
        format: "wav" (16 bit), "wav_float", "flac", "mp3", "opus", "aac" or "pcm" (bare 16-bit
            samples);
            by default what the extension means.

    Raises:
        ValueError: unknown format, no samples, wrong shape, NaN.
        OSError: the file cannot be written.

    Example:
        >>> write_audio("speech.mp3", torch.zeros(24_000))  # doctest: +SKIP
    """
    samples = _as_samples(audio)
    if samples.size == 0:
        raise ValueError("no audio to write: 0 samples")
    with open_audio_writer(target, rate_hz, format) as writer:
        writer.write(samples)


@contextlib.contextmanager
def open_audio_writer(
    target: AudioTarget, rate_hz: int = OUTPUT_RATE_HZ, format: str | None = None
) -> Iterator[AudioStreamWriter]:
    """Lends a writer to a path (whole or not at all), standard output ("-") or a binary file.

    Raises:
        ValueError: unknown format.
        OSError: the file cannot be written.
    """
    chosen = audio_format(target, format)
    if not isinstance(target, str | Path):
        with AudioStreamWriter(chosen, rate_hz, target) as writer:
            yield writer
    elif str(target) == STANDARD_OUTPUT:
        with AudioStreamWriter(chosen, rate_hz, sys.stdout.buffer) as writer:
            yield writer
    else:
        with (
            atomic_path(target) as temporary,
            open(temporary, "wb") as file,
            AudioStreamWriter(chosen, rate_hz, file) as writer,
        ):
            yield writer


class AudioStreamWriter:
    """Encodes audio while it is made; what a pipe has got so far can be played at once.

    Args:
        format: one of `AudioFormat`.
        rate_hz: the rate of what is written.
        sink: a binary file or pipe; it is flushed after every write and stays open.

    Example:
        >>> with AudioStreamWriter("mp3", 24_000, sys.stdout.buffer) as writer:  # doctest: +SKIP
        ...     for chunk in tts.stream("Hello"):
        ...         writer.write(chunk.audio)
    """

    def __init__(self, format: AudioFormat, rate_hz: int, sink: BinaryIO) -> None:
        if format not in get_args(AudioFormat):
            raise ValueError(f"format {format!r}; allowed: {', '.join(get_args(AudioFormat))}")
        self.num_samples = 0
        self._sink = sink
        self._is_open = True
        self._encoder = make_encoder(format, rate_hz, sink)

    def write(self, audio: torch.Tensor | np.ndarray) -> None:
        """Adds (n,) or (1, n) samples.

        Raises:
            ValueError: wrong shape, NaN, or the writer is closed.
            OSError: the sink cannot take it (BrokenPipeError: its reader went away).
        """
        if not self._is_open:
            raise ValueError("this audio writer is closed")
        samples = _as_samples(audio)
        self._encoder.write(np.clip(samples, -1.0, 1.0))
        self.num_samples += samples.size
        self._flush()

    def close(self) -> None:
        """Writes what is left; more calls do nothing."""
        if self._is_open:
            self._is_open = False
            self._encoder.close()
            self._flush()

    def __enter__(self) -> AudioStreamWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
        elif self._is_open:
            self._is_open = False
            self._encoder.abort()

    def _flush(self) -> None:
        if hasattr(self._sink, "flush"):
            self._sink.flush()


def _as_samples(audio: torch.Tensor | np.ndarray) -> np.ndarray:
    """(n,) float32, checked."""
    if isinstance(audio, torch.Tensor):
        audio = audio.detach().to("cpu", torch.float32).numpy()
    samples = audio[0] if audio.ndim == 2 and audio.shape[0] == 1 else audio
    if samples.ndim != 1 or not np.issubdtype(samples.dtype, np.floating):
        raise ValueError(
            f"audio must be (samples,) or (1, samples) of floats, not {audio.shape} {audio.dtype}"
        )
    if not np.isfinite(samples).all():
        raise ValueError("audio holds samples that are not numbers (NaN or infinite)")
    return np.ascontiguousarray(samples, dtype=np.float32)
