"""Audio in: any file, any rate, to one channel of float32 samples at the rate that is wanted."""

from __future__ import annotations

from pathlib import Path

import torch

from fireredtts2.audio_decoding import (
    MAX_PROMPT_S,
    MIN_PROMPT_S,
    PROMPT_LIMITS,
    AudioSource,
    decode,
    resample_array,
)
from fireredtts2.config import INPUT_RATE_HZ

SILENCE_PEAK = 1e-3  # -60 dB of full scale


def read_audio(
    source: AudioSource, rate_hz: int = INPUT_RATE_HZ, max_s: float | None = None
) -> torch.Tensor:
    """Reads a clip; of several channels, the first (SPEC section 6).

    Args:
        source: path, bytes of a file, or binary file; whatever libsndfile or FFmpeg reads.
        rate_hz: the rate to resample to.
        max_s: longest clip allowed; a longer one is not read to its end.

    Returns:
        (samples,) float32, full scale at 1.

    Raises:
        FileNotFoundError: no such file.
        ValueError: empty, not audio, of an odd rate, longer than `max_s`, or with NaN in it.

    Example:
        >>> audio = read_audio("prompt.wav")  # doctest: +SKIP
    """
    return torch.from_numpy(decode(source, rate_hz, max_s))


def read_prompt(source: AudioSource) -> torch.Tensor:
    """Reads a voice prompt at 16 kHz and checks that it is one; see `check_prompt`."""
    audio = read_audio(source, INPUT_RATE_HZ, max_s=MAX_PROMPT_S)
    name = source if isinstance(source, str | Path) else "voice prompt"
    check_prompt(audio, name=str(name))
    return audio


def check_prompt(
    audio: torch.Tensor, rate_hz: int = INPUT_RATE_HZ, name: str = "voice prompt"
) -> None:
    """Checks that a clip (samples,) can serve as a voice prompt.

    Raises:
        ValueError: empty, too short, too long or silent, with the duration and the limits; or with
            samples that are not numbers.
    """
    if audio.ndim != 1:
        raise ValueError(f"{name}: expected (samples,), got {tuple(audio.shape)}")
    duration_s = audio.numel() / rate_hz
    if not MIN_PROMPT_S <= duration_s <= MAX_PROMPT_S:
        raise ValueError(f"{name}: {duration_s:.1f} s long; {PROMPT_LIMITS}")
    if not audio.isfinite().all():
        raise ValueError(f"{name}: holds samples that are not numbers (NaN or infinite)")
    if audio.abs().max() < SILENCE_PEAK:
        raise ValueError(f"{name}: {duration_s:.1f} s of silence; a voice must be heard in it")


def resample(audio: torch.Tensor, from_hz: int, to_hz: int) -> torch.Tensor:
    """Resamples (samples,) float32 on the CPU."""
    if from_hz == to_hz or audio.numel() == 0:
        return audio
    return torch.from_numpy(resample_array(audio.numpy(), from_hz, to_hz))
