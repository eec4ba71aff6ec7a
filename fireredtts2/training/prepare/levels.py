"""Loudness of speech: measured where somebody speaks, made even, silent ends cut off."""

from __future__ import annotations

import numpy as np

FRAME_S = 0.02
#: The loudest frames of all may be a click: this many are passed over.
PASSED_OVER = 4
#: Speech is within this of its loudest frames.
ACTIVE_RANGE_DB = 30.0
#: What is further below the loudest frames, or below the floor, is silence.
SILENCE_RANGE_DB = 40.0
SILENCE_FLOOR_DBFS = -60.0
PEAK_CEILING_DBFS = -1.0
CLIPPED_RUN = 3  # samples
PCM16_STEP = 1 / 32_768
NOTHING_DBFS = -120.0


def decibels(power: np.ndarray | float) -> np.ndarray:
    """Power to dB, no less than -120."""
    return 10 * np.log10(np.maximum(power, 10 ** (NOTHING_DBFS / 10)))


def frame_levels(audio: np.ndarray, rate_hz: int) -> np.ndarray:
    """Levels (frames,) in dBFS of 20 ms each of (samples,); a shorter rest is left out."""
    size = round(FRAME_S * rate_hz)
    frames = audio[: audio.size // size * size].reshape(-1, size).astype(np.float64)
    return decibels((frames**2).mean(1)) if frames.size else np.full(1, NOTHING_DBFS)


def active_level(audio: np.ndarray, rate_hz: int) -> float:
    """Level in dBFS of (samples,) while somebody speaks.

    Pauses do not count, as in ITU-T P.56; unlike there, the frames are 20 ms long and counted as
    speech where they are within 30 dB of the loudest.
    """
    levels = frame_levels(audio, rate_hz)
    active = levels[levels >= _loudest(levels) - ACTIVE_RANGE_DB]
    return float(decibels(float(np.mean(10 ** (active / 10)))))


def even_gain(audio: np.ndarray, rate_hz: int, target_dbfs: float) -> float:
    """The factor that brings (samples,) to a level, or as near as peaks of -1 dBFS allow."""
    gain = 10 ** ((target_dbfs - active_level(audio, rate_hz)) / 20)
    peak = float(np.abs(audio).max(initial=0.0))
    return float(min(gain, 10 ** (PEAK_CEILING_DBFS / 20) / peak)) if peak else 1.0


def speech_span(audio: np.ndarray, rate_hz: int, kept_s: float) -> tuple[int, int]:
    """Where speech begins and ends in (samples,), with `kept_s` of silence on either side."""
    levels = frame_levels(audio, rate_hz)
    floor = max(_loudest(levels) - SILENCE_RANGE_DB, SILENCE_FLOOR_DBFS)
    loud = np.flatnonzero(levels >= floor)
    if not loud.size:
        return 0, audio.size
    size, kept = round(FRAME_S * rate_hz), round(kept_s * rate_hz)
    # NOTE: what is left over after the last whole frame goes with it.
    last = audio.size if loud[-1] == levels.size - 1 else int(loud[-1] + 1) * size
    return max(0, int(loud[0]) * size - kept), min(audio.size, last + kept)


def clipped_share(audio: np.ndarray) -> float:
    """Share of (samples,), at the rate they were recorded at, that lie in clipped runs.

    A run is three samples or more at the peak, within what 16 bits can tell, wherever the peak is:
    clipping may have been turned down afterwards. Samples beyond full scale count too, which
    lossy formats make of clipped ones.
    """
    if not audio.size:
        return 0.0
    magnitude = np.abs(audio)
    peak = float(magnitude.max())
    if peak == 0.0:
        return 0.0
    at_limit = magnitude >= min(peak - 1.5 * PCM16_STEP, 1.0)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], at_limit.view(np.int8), [0]])))
    lengths = edges[1::2] - edges[::2]
    return float(lengths[lengths >= CLIPPED_RUN].sum() / audio.size)


def _loudest(levels: np.ndarray) -> float:
    """The level of the loudest frames but for a few."""
    place = max(levels.size - 1 - PASSED_OVER, levels.size // 2)
    return float(np.partition(levels, place)[place])
