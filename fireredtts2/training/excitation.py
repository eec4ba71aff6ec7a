"""How recorded speech is excited: its pitch, and how periodic each band is.

A band is periodic as far as it repeats after one period: normalised cross-correlations of the
band-passed sound (the voicing strengths of McCree and Barnwell 1995).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fireredtts2.codec.harmonic_source import (
    BAND_EDGES_HZ,
    MIN_PITCH_HZ,
    NUM_BANDS,
    Excitation,
    HarmonicSource,
)
from fireredtts2.config import OUTPUT_RATE_HZ
from fireredtts2.training.pitch import HOP_SAMPLES, MAX_LAG, between, track_pitch

WINDOW_SAMPLES = 480
LAG_SPREAD = 2  # samples to either side: pitch is not that exact
#: Correlations of noise, and of what counts as wholly periodic.
NOISE_CORRELATION, VOICE_CORRELATION = 0.25, 0.9
UNVOICED_WEIGHT = 0.05
GLIDE_WEIGHT = 4.0
VOICING_WEIGHT = 0.3


def measure_excitation(audio: Tensor) -> Excitation:
    """The excitation of audio (B, samples) at 24 kHz, a whole number of hops of 240."""
    pitch_hz = track_pitch(audio)
    lags = (OUTPUT_RATE_HZ / between(pitch_hz)).round().long().clamp(max=MAX_LAG)
    strengths = [_repetition(band, lags) for band in _bands(audio).unbind(1)]
    span = VOICE_CORRELATION - NOISE_CORRELATION
    periodicity = ((torch.stack(strengths, -1) - NOISE_CORRELATION) / span).clamp(0, 1)
    return Excitation(pitch_hz, periodicity * (pitch_hz > 0)[..., None])


def _bands(audio: Tensor) -> Tensor:
    """(B, samples) to (B, NUM_BANDS, samples)."""
    spectrum = torch.fft.rfft(audio)
    bins_hz = torch.linspace(0, OUTPUT_RATE_HZ / 2, spectrum.shape[1], device=audio.device)
    edges = torch.tensor(BAND_EDGES_HZ, device=audio.device)
    number = (torch.searchsorted(edges, bins_hz, right=True) - 1).clamp(0, NUM_BANDS - 1)
    masks = F.one_hot(number, NUM_BANDS).T
    return torch.fft.irfft(spectrum[:, None] * masks, audio.shape[1])


def _repetition(band: Tensor, lags: Tensor) -> Tensor:
    """How alike (B, samples) is to itself `lags` (B, T) samples later, -1 to 1: (B, T)."""
    pad = WINDOW_SAMPLES // 2 + MAX_LAG + LAG_SPREAD
    padded = F.pad(band, (pad, pad))
    middles = torch.arange(lags.shape[1], device=band.device) * HOP_SAMPLES + HOP_SAMPLES // 2 + pad
    starts = middles - WINDOW_SAMPLES // 2 - lags // 2
    windows = padded.unfold(1, WINDOW_SAMPLES, 1)
    rows = torch.arange(len(band), device=band.device)[:, None]
    first = windows[rows, starts]
    norm = first.square().sum(-1)
    found = []
    for more in range(-LAG_SPREAD, LAG_SPREAD + 1):
        later = windows[rows, starts + lags + more]
        scale = (norm * later.square().sum(-1)).clamp(min=1e-12).sqrt()
        found.append((first * later).sum(-1) / scale)
    return torch.stack(found).amax(0)


def excitation_loss(source: HarmonicSource, hidden: Tensor, measured: Excitation) -> Tensor:
    """How far what hidden states (B, T, D) name is from what was measured.

    Octaves of pitch, and their changes so that the pitch is no less smooth; voicing; periodicity.
    """
    octaves, voicing, bands = source.named(hidden)
    is_voiced = (measured.pitch_hz > 0).float()
    wanted = (between(measured.pitch_hz) / MIN_PITCH_HZ).log2()
    weight = is_voiced + UNVOICED_WEIGHT * (1 - is_voiced)
    pitch = _weighted_mean((octaves - wanted).abs(), weight)
    both = is_voiced[:, 1:] * is_voiced[:, :-1]
    glide = _weighted_mean((octaves.diff(dim=1) - wanted.diff(dim=1)).abs(), both)
    voiced = F.binary_cross_entropy_with_logits(voicing, is_voiced)
    periodic = _weighted_mean((bands.sigmoid() - measured.periodicity).abs().mean(-1), is_voiced)
    return pitch + GLIDE_WEIGHT * glide + VOICING_WEIGHT * voiced + periodic


def _weighted_mean(values: Tensor, weights: Tensor) -> Tensor:
    return (values * weights).sum() / weights.sum().clamp(min=1.0)
