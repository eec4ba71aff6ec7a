"""Pitch of recorded speech, by YIN (de Cheveigne and Kawahara 2002), for many clips at once."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from fireredtts2.codec.harmonic_source import MAX_PITCH_HZ, MIN_PITCH_HZ
from fireredtts2.config import OUTPUT_RATE_HZ

HOP_SAMPLES = 240
WINDOW_SAMPLES = 768
MIN_LAG = int(OUTPUT_RATE_HZ / MAX_PITCH_HZ)
MAX_LAG = int(OUTPUT_RATE_HZ / MIN_PITCH_HZ)
SEGMENT_SAMPLES = WINDOW_SAMPLES + MAX_LAG + 1
FFT_SIZE = 2_560  # a segment and a window, without wrapping round
FIRST_DIP = 0.2  # of the normalised difference: the first dip below it is the period
VOICED_DIP = 0.4  # a step whose dip is no deeper is unvoiced
MIN_LEVEL = 1e-3  # root mean square of a segment, full scale is 1
SMOOTHING_STEPS = 5
MAX_JUMP = 1.25  # from the median of its neighbours: more is an octave mistaken


def track_pitch(audio: Tensor) -> Tensor:
    """Pitch at 100 Hz.

    Args:
        audio: (B, samples) float32 at 24 kHz; a whole number of hops of 240.

    Returns:
        (B, samples // 240) Hz at the middles of the hops; 0 where nothing is voiced.
    """
    num_steps = audio.shape[1] // HOP_SAMPLES
    before = SEGMENT_SAMPLES // 2 - HOP_SAMPLES // 2
    padded = F.pad(audio, (before, SEGMENT_SAMPLES))
    segments = padded.unfold(1, SEGMENT_SAMPLES, HOP_SAMPLES)[:, :num_steps]
    normalised = _normalised_difference(segments)
    lags, depth = _first_dip(normalised)
    is_voiced = (depth < VOICED_DIP) & (segments.square().mean(-1).sqrt() > MIN_LEVEL)
    return _without_jumps(torch.where(is_voiced, OUTPUT_RATE_HZ / lags, 0.0))


def _normalised_difference(segments: Tensor) -> Tensor:
    """The cumulative mean normalised difference at lags 0 ... MAX_LAG (paper, equation 8)."""
    window = segments[..., :WINDOW_SAMPLES]
    spectra = torch.fft.rfft(segments, FFT_SIZE) * torch.fft.rfft(window, FFT_SIZE).conj()
    products = torch.fft.irfft(spectra, FFT_SIZE)[..., : MAX_LAG + 1]
    energy = F.pad(segments.double().square().cumsum(-1), (1, 0))
    energies = (energy[..., WINDOW_SAMPLES:] - energy[..., :-WINDOW_SAMPLES])[..., : MAX_LAG + 1]
    difference = (energies[..., :1] + energies).float() - 2 * products
    sums = difference[..., 1:].cumsum(-1).clamp(min=1e-9)
    numbers = torch.arange(1, MAX_LAG + 1, device=segments.device)
    return F.pad(difference[..., 1:] * numbers / sums, (1, 0), value=1.0)


def _first_dip(normalised: Tensor) -> tuple[Tensor, Tensor]:
    """The first dip below `FIRST_DIP`, else the deepest: its lag between samples, its depth."""
    left, middle, right = (normalised[..., MIN_LAG - 1 + k : MAX_LAG - 1 + k] for k in range(3))
    is_dip = (middle <= left) & (middle < right)
    below = is_dip & (middle < FIRST_DIP)
    deepest = torch.where(is_dip, middle, torch.inf).argmin(-1)
    place = torch.where(below.any(-1), below.int().argmax(-1), deepest)[..., None]
    a, b, c = (part.gather(-1, place)[..., 0] for part in (left, middle, right))
    shift = (a - c) / (2 * (a - 2 * b + c)).clamp(min=1e-9)  # of the parabola through the three
    return place[..., 0] + MIN_LAG + shift.clamp(-0.5, 0.5), b


def _without_jumps(pitch_hz: Tensor) -> Tensor:
    """Unvoices single steps that lie far from their neighbours' median."""
    around = F.pad(pitch_hz[:, None], (SMOOTHING_STEPS // 2,) * 2, mode="replicate")[:, 0]
    median = around.unfold(1, SMOOTHING_STEPS, 1).median(-1).values
    ratio = pitch_hz / median.clamp(min=1e-9)
    return torch.where((ratio < MAX_JUMP) & (ratio > 1 / MAX_JUMP), pitch_hz, 0.0)


def between(pitch_hz: Tensor) -> Tensor:
    """(B, T) with the unvoiced steps filled: straight lines in octaves, level at the ends.

    A row without any voiced step gets `MIN_PITCH_HZ`.
    """
    steps = torch.arange(pitch_hz.shape[1], device=pitch_hz.device).expand_as(pitch_hz)
    is_voiced = pitch_hz > 0
    last = torch.where(is_voiced, steps, -1).cummax(1).values
    upcoming = torch.where(is_voiced, steps, pitch_hz.shape[1])
    upcoming = upcoming.flip(1).cummin(1).values.flip(1)
    has_last, has_next = last >= 0, upcoming < pitch_hz.shape[1]
    begin = torch.where(has_last, last, torch.where(has_next, upcoming, 0))
    end = torch.where(has_next, upcoming, begin)
    octaves = torch.where(is_voiced, pitch_hz, MIN_PITCH_HZ).log2()
    a, b = octaves.gather(1, begin), octaves.gather(1, end)
    share = (steps - begin) / (end - begin).clamp(min=1)
    return (a + (b - a) * share.clamp(0, 1)).exp2()
