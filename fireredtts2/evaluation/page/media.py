"""Sounds and their pictures as data URLs, so that the page needs no other file."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import soundfile
import torch

from fireredtts2.audio import resample
from fireredtts2.audio_encoders import make_encoder
from fireredtts2.codec.mel import mel_filters
from fireredtts2.config import OUTPUT_RATE_HZ
from fireredtts2.evaluation.page.png import png

FFT_SIZE = 1_024
HOP_SAMPLES = 240  # 10 ms at 24 kHz
MEL_BANDS = 96
MAX_WIDTH = 480
RANGE_DB = 80.0


def read_sound(path: Path) -> np.ndarray | None:
    """A sound file's first channel (samples,) at 24 kHz; None where there is none to read."""
    try:
        audio, rate_hz = soundfile.read(path, dtype="float32", always_2d=True)
    except (OSError, RuntimeError):  # soundfile raises the latter for a file that is no sound
        return None
    if not len(audio):
        return None
    first = torch.from_numpy(np.ascontiguousarray(audio[:, 0]))
    return resample(first, rate_hz, OUTPUT_RATE_HZ).numpy()


def mp3_url(audio: np.ndarray) -> str:
    """Audio (samples,) at 24 kHz as a `data:` URL of an MP3, which every browser plays."""
    sink = io.BytesIO()
    encoder = make_encoder("mp3", OUTPUT_RATE_HZ, sink)
    encoder.write(audio)
    encoder.close()
    return _data_url("audio/mpeg", sink.getvalue())


def spectrogram_url(audio: np.ndarray) -> str:
    """The mel spectrogram of audio (samples,) at 24 kHz as a `data:` URL of a PNG."""
    return _data_url("image/png", png(spectrogram(audio)))


def spectrogram(audio: np.ndarray) -> np.ndarray:
    """Mel spectrogram (MEL_BANDS, width) in 0..1, high bands first, of audio at 24 kHz.

    0 is `RANGE_DB` below the loudest place. Long clips have longer steps, so that the width stays
    within `MAX_WIDTH`.
    """
    hop = max(HOP_SAMPLES, -(-len(audio) // (MAX_WIDTH - 1)))
    spectrum = torch.stft(
        torch.from_numpy(np.ascontiguousarray(audio, dtype=np.float32)),
        FFT_SIZE,
        hop,
        window=torch.hann_window(FFT_SIZE),
        pad_mode="constant",
        return_complex=True,
    ).abs()
    mel = mel_filters(MEL_BANDS, FFT_SIZE, OUTPUT_RATE_HZ).T @ spectrum
    level_db = 20 * mel.clamp(min=1e-8).log10()
    result: np.ndarray = (1 + (level_db - level_db.max()) / RANGE_DB).clamp(0, 1).flip(0).numpy()
    return result


def _data_url(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"
