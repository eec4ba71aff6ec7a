"""Finds a mark again, wherever in a clip it begins."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from fireredtts2.config import OUTPUT_RATE_HZ
from fireredtts2.watermark.pattern import (
    CELL_HOPS,
    FRAME_SAMPLES,
    HOP_SAMPLES,
    NUM_BITS,
    PAIR_SAMPLES,
    PAIRS,
    SYNC,
    WatermarkKey,
    band_edges,
    payload_of,
)

#: A mark may begin anywhere: so fine is it looked for.
PHASE_SAMPLES = 120
PHASES = PAIR_SAMPLES // PHASE_SAMPLES
#: Differences of neighbouring cells beyond this are the speech's own.
LARGEST_DB = 4.0
NEIGHBOURS = 5  # bands that change together
#: Cells this far below a clip's loud ones hold noise, if anything.
QUIET_DB = 45.0
WINDOW_S, WINDOW_STEP_S = 6.0, 3.0
#: That a clip without a mark, or with another key's, is taken for marked.
FALSE_ALARM_RATE = 1e-4
MIN_SECONDS = 1.0


@dataclass(frozen=True)
class Detection:
    """What was found.

    Attributes:
        is_marked: whether the key's mark is there.
        score: of the best place, in standard deviations of a clip without a mark.
        threshold: what the score had to be, the more places the higher.
        payload: the number in it; None where it cannot be read without an error.
    """

    is_marked: bool
    score: float
    threshold: float
    payload: int | None


def detect(audio: np.ndarray, key: WatermarkKey) -> Detection:
    """Looks for a key's mark.

    Speech of several streams, one after the other, has as many marks with other beginnings: a clip
    is looked at whole and in windows of 6 s.

    Args:
        audio: (n,) at 24 kHz, whatever was done to it before.
        key: of the mark; its payload is not looked at.

    Raises:
        ValueError: less than a second of audio, or of another shape.
    """
    audio = np.asarray(audio, np.float32)
    if audio.ndim != 1 or len(audio) < MIN_SECONDS * OUTPUT_RATE_HZ:
        raise ValueError(
            f"audio of shape {audio.shape}: must be (n,), at least {MIN_SECONDS:g} s at 24 kHz"
        )
    parts = [audio, *_windows(audio)]
    found = [_best(part, key) for part in parts]
    score, payload = max(found, key=lambda one: one[0])
    threshold = normal_quantile(FALSE_ALARM_RATE / (len(parts) * PHASES * PAIRS))
    is_marked = score >= threshold
    return Detection(is_marked, score, threshold, payload if is_marked else None)


def _windows(audio: np.ndarray) -> list[np.ndarray]:
    size, step = round(WINDOW_S * OUTPUT_RATE_HZ), round(WINDOW_STEP_S * OUTPUT_RATE_HZ)
    if len(audio) <= size:
        return []
    return [audio[at : at + size] for at in range(0, len(audio) - size + step, step)]


def _best(audio: np.ndarray, key: WatermarkKey) -> tuple[float, int | None]:
    """The score of the likeliest beginning, and what it tells."""
    levels = _levels(audio)
    best: tuple[float, np.ndarray] = (-math.inf, np.zeros(0))
    for phase in range(PHASES):
        differences = _differences(levels[phase:])
        if not len(differences):
            continue
        sums, squares = _folded(differences), _folded(differences**2)
        for shift in range(PAIRS):
            own, energy = np.roll(sums, shift, 0), np.roll(squares, shift, 0)
            is_sync = key.bits == SYNC
            deviation = math.sqrt(energy[is_sync].sum()) or 1.0
            score = float((own * key.signs)[is_sync].sum()) / deviation
            if score > best[0]:
                best = (score, own * key.signs)
    score, told = best
    if not len(told):
        return 0.0, None
    bits = [int(told[key.bits == number].sum() > 0) for number in range(NUM_BITS)]
    return score, payload_of(bits)


def _levels(audio: np.ndarray) -> np.ndarray:
    """(times, bands) levels in dB, a time every PHASE_SAMPLES."""
    window = np.hanning(FRAME_SAMPLES).astype(np.float32)
    padded = np.pad(audio, (0, FRAME_SAMPLES))
    frames = np.lib.stride_tricks.sliding_window_view(padded, FRAME_SAMPLES)[::PHASE_SAMPLES]
    edges = band_edges()
    parts = []
    for start in range(0, len(frames), 4_096):
        power = np.abs(np.fft.rfft(frames[start : start + 4_096] * window)) ** 2
        parts.append(np.add.reduceat(power, edges, axis=1)[:, :-1])
    levels = 10 * np.log10(np.concatenate(parts) + 1e-12)
    return np.maximum(levels, np.quantile(levels, 0.98) - QUIET_DB).astype(np.float32)


def _differences(levels: np.ndarray) -> np.ndarray:
    """(pairs, bands): by how much the first cell of each pair is louder than the second.

    Less what the bands beside it change by: a syllable that begins raises all of them.
    """
    cell = CELL_HOPS * HOP_SAMPLES // PHASE_SAMPLES
    num_pairs = (len(levels) - cell) // (2 * cell)
    first = levels[: 2 * cell * num_pairs : 2 * cell]
    second = levels[cell : 2 * cell * num_pairs : 2 * cell]
    if not num_pairs:
        return first - second
    changes = first - second
    half = NEIGHBOURS // 2
    padded = np.pad(changes, ((0, 0), (half, half)), mode="edge")
    around = np.lib.stride_tricks.sliding_window_view(padded, NEIGHBOURS, axis=1).mean(-1)
    return np.clip(changes - around, -LARGEST_DB, LARGEST_DB)


def _folded(differences: np.ndarray) -> np.ndarray:
    """(PAIRS, bands): sums over all periods."""
    padded = np.pad(differences, ((0, -len(differences) % PAIRS), (0, 0)))
    return padded.reshape(-1, PAIRS, differences.shape[1]).sum(0)


def normal_quantile(tail: float) -> float:
    """Where the normal distribution's upper tail has this much, found by bisection."""
    low, high = 0.0, 20.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (
            (middle, high) if 0.5 * math.erfc(middle / math.sqrt(2)) > tail else (low, middle)
        )
    return high
