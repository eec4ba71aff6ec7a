"""How a clip is spoken: pitch, its range, pace and pauses."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from fireredtts2.config import INPUT_RATE_HZ
from fireredtts2.evaluation.extras import load_extra

FRAME_SAMPLES = 160  # 10 ms at 16 kHz
ACTIVE_RANGE_DB = 35.0  # below the loud frames of the clip, a frame counts as silent
LOUD_PERCENTILE = 95
ACTIVE_FLOOR_DB = -60.0  # of full scale: what is softer is silence in any clip
MIN_PAUSE_S = 0.2  # the closure of a stop consonant is shorter

MIN_PITCH_HZ = 60.0
MAX_PITCH_HZ = 500.0
PITCH_WINDOW_SAMPLES = 1_024  # 64 ms: almost four periods of the lowest pitch
PITCH_HOP_SAMPLES = 256
PITCH_RANGE_PERCENTILES = (5, 95)  # what octave errors of the tracker reach least
MIN_VOICED_FRAMES = 10
SEMITONES_PER_OCTAVE = 12


class PitchTracker(Protocol):
    """Finds the pitch of a clip (samples,) float32 at 16 kHz: (frames,) in Hz, NaN if unvoiced."""

    def track(self, audio: np.ndarray) -> np.ndarray: ...


class PyinTracker:
    """Probabilistic YIN (Mauch and Dixon 2014) of librosa."""

    def __init__(self) -> None:
        self._librosa = load_extra("librosa")

    def track(self, audio: np.ndarray) -> np.ndarray:
        if len(audio) < PITCH_WINDOW_SAMPLES:
            return np.full(0, np.nan)
        pitch, _, _ = self._librosa.pyin(
            audio.astype(np.float32),
            fmin=MIN_PITCH_HZ,
            fmax=MAX_PITCH_HZ,
            sr=INPUT_RATE_HZ,
            frame_length=PITCH_WINDOW_SAMPLES,
            hop_length=PITCH_HOP_SAMPLES,
        )
        return np.asarray(pitch)


@dataclass(frozen=True)
class Prosody:
    """Figures of one clip; None where there is too little speech to tell.

    Attributes:
        pitch_hz: Median pitch.
        pitch_range_st: From the 5th to the 95th percentile of the pitch, in semitones.
        words_per_s: Words heard in a second of active speech, pauses left out.
        pause_share: Pauses in the time from the first sound to the last, 0 to 1.
        longest_pause_s: 0 where there is none of at least `MIN_PAUSE_S`.
    """

    pitch_hz: float | None
    pitch_range_st: float | None
    words_per_s: float | None
    pause_share: float | None
    longest_pause_s: float | None


def measure_prosody(
    audio: np.ndarray, num_words: int, tracker: PitchTracker | None = None
) -> Prosody:
    """Measures a clip (samples,) float32 at 16 kHz in which `num_words` words were heard."""
    pitch, pitch_range = pitch_figures(tracker.track(audio)) if tracker else (None, None)
    active = active_frames(audio)
    places = np.flatnonzero(active)
    if not len(places):
        return Prosody(pitch, pitch_range, None, None, None)
    inside = active[places[0] : places[-1] + 1]
    pauses = [run for run in silent_runs(inside) if run * _frame_s() >= MIN_PAUSE_S]
    active_s = (len(inside) - sum(pauses)) * _frame_s()
    return Prosody(
        pitch_hz=pitch,
        pitch_range_st=pitch_range,
        words_per_s=num_words / active_s,
        pause_share=sum(pauses) / len(inside),
        longest_pause_s=max(pauses, default=0) * _frame_s(),
    )


def pitch_figures(pitch_hz: np.ndarray) -> tuple[float | None, float | None]:
    """Median in Hz and range in semitones of a pitch track (frames,) with NaN where unvoiced."""
    voiced = pitch_hz[np.isfinite(pitch_hz)]
    if len(voiced) < MIN_VOICED_FRAMES:
        return None, None
    low, high = np.percentile(voiced, PITCH_RANGE_PERCENTILES)
    return float(np.median(voiced)), SEMITONES_PER_OCTAVE * math.log2(float(high / low))


def active_frames(audio: np.ndarray) -> np.ndarray:
    """Which frames (frames,) of `FRAME_SAMPLES` hold sound, by their level."""
    count = len(audio) // FRAME_SAMPLES
    frames = audio[: count * FRAME_SAMPLES].reshape(count, FRAME_SAMPLES).astype(np.float64)
    if not count:
        return np.zeros(0, dtype=bool)
    level_db = 10 * np.log10(np.maximum((frames**2).mean(axis=1), 1e-12))
    loud_db = float(np.percentile(level_db, LOUD_PERCENTILE))
    active: np.ndarray = level_db > max(loud_db - ACTIVE_RANGE_DB, ACTIVE_FLOOR_DB)
    return active


def silent_runs(active: np.ndarray) -> list[int]:
    """Lengths in frames of the runs without sound, in order."""
    edges = np.flatnonzero(np.diff(np.concatenate(([1], active.astype(np.int8), [1]))))
    return [int(end - start) for start, end in zip(edges[::2], edges[1::2], strict=True)]


def _frame_s() -> float:
    return FRAME_SAMPLES / INPUT_RATE_HZ
