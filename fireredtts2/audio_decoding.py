"""Audio files to float32 samples, without torch: any file, at its own rate, the first channel."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import av
import av.error
import numpy as np
import soundfile
import soxr

AudioSource = str | Path | bytes | BinaryIO

MIN_FILE_RATE_HZ = 8_000
MAX_FILE_RATE_HZ = 192_000
MIN_PROMPT_S = 0.4
# The audio of four such prompts takes 2,000 of the window's 3,100 rows, that of a turn of 30 s 375.
# NOTE: the texts need rows too, by the model's tokenizer: `Conversation` refuses what does not fit.
MAX_PROMPT_S = 40.0
PROMPT_LIMITS = f"a voice prompt is {MIN_PROMPT_S:g} to {MAX_PROMPT_S:g} s of speech"
BLOCK_SAMPLES = 65_536
#: In messages, what has no name of its own.
BYTES_NAME = "audio bytes"

#: What PyAV may open. Playlists and the like stay out: they name other files and addresses.
CONTAINERS = "aac,ac3,aiff,amr,asf,au,avi,caf,flac,flv,matroska,mov,mp3,mpeg,mpegts,ogg,tta,w64,wav"


def decode(source: AudioSource, rate_hz: int, max_s: float | None = None) -> np.ndarray:
    """Reads a clip, see `audio.read_audio`: (samples,) float32 at `rate_hz`."""
    name, data = _open(source)
    with data:
        if not data.read(1):
            raise ValueError(f"{name}: an empty file, not audio")
        audio, file_rate_hz = _decode(data, name, max_s)
    if not np.isfinite(audio).all():
        raise ValueError(f"{name}: holds samples that are not numbers (NaN or infinite)")
    return resample_array(audio, file_rate_hz, rate_hz)


def decode_with_av(clip: bytes, name: str = BYTES_NAME, channel: int = 0) -> tuple[np.ndarray, int]:
    """One channel of a file's bytes, as FFmpeg reads it, whatever it is.

    Args:
        clip: the whole file.
        name: of the file, for messages.
        channel: from 0.

    Returns:
        (samples,) float32, and their rate in Hz; 0 where there is no sound in it.

    Raises:
        ValueError: a rate that is not allowed, or no such channel.
        av.error.FFmpegError: damaged, or not of a kind that is known.
    """
    return _collect(_av_blocks(io.BytesIO(clip), channel), name, None)


def resample_array(audio: np.ndarray, from_hz: int, to_hz: int) -> np.ndarray:
    """Resamples (samples,) float32."""
    if from_hz == to_hz or audio.size == 0:
        return audio
    return soxr.resample(audio, from_hz, to_hz, quality="HQ")


def _open(source: AudioSource) -> tuple[str, BinaryIO]:
    """A name for messages and a seekable binary file that is ours to close."""
    if isinstance(source, str | Path):
        if Path(source).is_dir():
            raise ValueError(f"{source}: a folder, not audio")
        return str(source), open(source, "rb")
    if isinstance(source, bytes | bytearray | memoryview):
        return BYTES_NAME, io.BytesIO(source)
    # Read whole: it may be a pipe, which neither decoder can seek in.
    return str(getattr(source, "name", "audio file")), io.BytesIO(source.read())


def _decode(data: BinaryIO, name: str, max_s: float | None) -> tuple[np.ndarray, int]:
    """First channel (samples,) float32 and its rate."""
    for blocks in (_soundfile_blocks, _av_blocks):
        data.seek(0)
        try:
            audio, rate_hz = _collect(blocks(data), name, max_s)
        except (soundfile.LibsndfileError, av.error.FFmpegError):
            continue
        if rate_hz:
            return audio, rate_hz
    raise ValueError(
        f"{name}: damaged, or not audio that is known here (WAV, FLAC, MP3, Ogg, M4A, ...)"
    )


def _collect(
    blocks: Iterator[tuple[np.ndarray, int]], name: str, max_s: float | None
) -> tuple[np.ndarray, int]:
    parts: list[np.ndarray] = []
    num_samples, rate_hz = 0, 0
    for block, rate_hz in blocks:
        if not MIN_FILE_RATE_HZ <= rate_hz <= MAX_FILE_RATE_HZ:
            allowed = f"{MIN_FILE_RATE_HZ} to {MAX_FILE_RATE_HZ} Hz"
            raise ValueError(f"{name}: {rate_hz} Hz; allowed: {allowed}")
        parts.append(block)
        num_samples += block.size
        if max_s is not None and num_samples > max_s * rate_hz:
            raise ValueError(f"{name}: longer than {max_s:g} s; {PROMPT_LIMITS}")
    return np.concatenate(parts or [np.zeros(0, np.float32)]), rate_hz


def _soundfile_blocks(data: BinaryIO) -> Iterator[tuple[np.ndarray, int]]:
    with soundfile.SoundFile(data) as file:
        # NOTE: `file.frames` is no guide: a streamed file does not know its length.
        while True:
            block = file.read(BLOCK_SAMPLES, dtype="float32", always_2d=True)[:, 0]
            yield block.copy(), file.samplerate
            if not block.size:
                return


def _av_blocks(data: BinaryIO, channel: int = 0) -> Iterator[tuple[np.ndarray, int]]:
    with av.open(data, "r", options={"format_whitelist": CONTAINERS}) as container:
        if not container.streams.audio:
            return
        resampler = av.AudioResampler(format="fltp")
        rate_hz = container.streams.audio[0].rate
        for frame in container.decode(audio=0):
            for part in resampler.resample(frame):
                channels = part.to_ndarray()
                if channel >= len(channels):
                    raise ValueError(f"channel {channel}; it has {len(channels)}")
                yield channels[channel].copy(), part.sample_rate
        yield np.zeros(0, np.float32), rate_hz
