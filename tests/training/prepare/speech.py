"""Noise that looks like speech to the checks: bursts with pauses, silence around them."""

from pathlib import Path

import numpy as np
import soundfile

RATE_HZ = 16_000


def burst(seconds: float, seed: int = 0, level_dbfs: float = -20.0, rate_hz: int = RATE_HZ):
    """(samples,) float32 of smooth noise at a level."""
    noise = np.random.default_rng(seed).normal(size=round(seconds * rate_hz))
    smooth = np.convolve(noise, np.ones(4) / 4, "same")
    swell = 0.6 + 0.4 * np.sin(np.arange(noise.size) * 2 * np.pi * 4 / rate_hz)
    shaped = np.tanh(smooth * swell)
    return (shaped / np.sqrt((shaped**2).mean()) * 10 ** (level_dbfs / 20)).astype(np.float32)


def write_clip(path: Path, seconds: float = 1.5, seed: int = 0, text: str | None = None, **more):
    """A file of speech, with its text beside it where one is given."""
    path.parent.mkdir(parents=True, exist_ok=True)
    audio = burst(seconds, seed, **more)
    soundfile.write(path, audio, more.get("rate_hz", RATE_HZ), subtype="PCM_16")
    if text is not None:
        path.with_suffix(".txt").write_text(text, encoding="utf-8")
    return path
