"""Mel-cepstral distortion (Kubichek 1993): how far two spectral envelopes are apart, in dB.

With L_k the natural logarithm of the magnitude in mel band k of K, the mel cepstrum of a frame is

    c_m = 2 / K * sum over k of L_k cos(pi m (k + 1/2) / K),   m = 1 to 24,

so that L_k = c_0 + sum of c_m cos(...), and the distortion of two frames is

    MCD = 10 / ln 10 * sqrt(2 * sum over m of (c_m - c'_m)^2).

c_0, the loudness, is left out. Were all coefficients taken, this would be the root mean square of
the difference of the two log mel spectra in dB. A clip's distortion is the mean over its frames.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
import torch
from torch import Tensor

from fireredtts2.codec.mel import mel_filters
from fireredtts2.config import INPUT_RATE_HZ
from fireredtts2.evaluation.time_warping import warp

MEL_BANDS = 80
NUM_COEFFICIENTS = 24
FFT_SIZE = 1_024  # fine enough for the lowest bands
WINDOW_SAMPLES = 400  # 25 ms at 16 kHz
HOP_SAMPLES = 160  # 10 ms
MAGNITUDE_FLOOR = 1e-5
ACTIVE_RANGE_DB = 50.0  # frames softer than the loudest by more are silence, where noise decides
DB_PER_NEPER = 20 / math.log(10)


def aligned_mcd(reference: np.ndarray, other: np.ndarray) -> float | None:
    """Distortion in dB of two clips (samples,) at 16 kHz that run side by side, as of a codec.

    Frames in which the reference is silent do not count; None where all are.
    """
    length = min(len(reference), len(other))
    a, active = cepstra(reference[:length])
    b, _ = cepstra(other[:length])
    if not active.any():
        return None
    return float(distortion(a, b)[active].mean())


def warped_mcd(reference: np.ndarray, other: np.ndarray) -> float | None:
    """Distortion in dB of two readings of one text, brought together by dynamic time warping.

    Clips are (samples,) at 16 kHz. Silent frames of both are cut out before; None where all are.
    """
    kept = [frames[active] for frames, active in (cepstra(reference), cepstra(other))]
    if not all(len(frames) for frames in kept):
        return None
    a, b = kept
    costs = _to_db(np.sqrt(np.maximum(_squared_distances(a, b), 0)))
    rows, columns = warp(costs)
    return float(costs[rows, columns].mean())


def distortion(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Distortion (frames,) in dB between cepstra (frames, NUM_COEFFICIENTS), frame by frame."""
    result: np.ndarray = _to_db(np.sqrt(((a - b) ** 2).sum(axis=1)))
    return result


def cepstra(audio: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cepstra (frames, NUM_COEFFICIENTS) of audio (samples,) at 16 kHz; which are not silent."""
    spectrum = torch.stft(
        torch.from_numpy(np.ascontiguousarray(audio, dtype=np.float32)),
        FFT_SIZE,
        HOP_SAMPLES,
        WINDOW_SAMPLES,
        window=torch.hann_window(WINDOW_SAMPLES),
        pad_mode="constant",
        return_complex=True,
    ).abs()
    level_db = 10 * (spectrum**2).mean(dim=0).clamp(min=MAGNITUDE_FLOOR**2).log10()
    active = (level_db > level_db.max() - ACTIVE_RANGE_DB) & (spectrum.amax(dim=0) > 1e-3)
    mel = (mel_filters(MEL_BANDS, FFT_SIZE, INPUT_RATE_HZ).T @ spectrum).clamp(min=MAGNITUDE_FLOOR)
    return cepstra_of_mel(mel.log().T.numpy()), active.numpy()


def cepstra_of_mel(log_mel: np.ndarray) -> np.ndarray:
    """Cepstra (frames, NUM_COEFFICIENTS) of natural log mel magnitudes (frames, bands)."""
    result: np.ndarray = log_mel @ _cosines(log_mel.shape[1]).numpy()
    return result


@cache
def _cosines(num_bands: int) -> Tensor:
    """Analysis matrix (bands, NUM_COEFFICIENTS) of the formula above."""
    places = (torch.arange(num_bands, dtype=torch.float64) + 0.5) / num_bands
    orders = torch.arange(1, NUM_COEFFICIENTS + 1, dtype=torch.float64)
    return 2 / num_bands * torch.cos(math.pi * places[:, None] * orders)


def _squared_distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Squared Euclidean distances (N, M) of the rows of (N, D) and (M, D)."""
    result: np.ndarray = (a**2).sum(1)[:, None] + (b**2).sum(1) - 2 * a @ b.T
    return result


def _to_db(distance: np.ndarray) -> np.ndarray:
    """10 / ln 10 * sqrt(2) * distance."""
    return DB_PER_NEPER / math.sqrt(2) * distance
