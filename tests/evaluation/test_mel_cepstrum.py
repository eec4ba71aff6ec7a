import math

import numpy as np
import pytest
import torch

from fireredtts2.codec.mel import hz_to_mel, mel_to_hz
from fireredtts2.evaluation.mel_cepstrum import (
    MEL_BANDS,
    NUM_COEFFICIENTS,
    aligned_mcd,
    cepstra_of_mel,
    distortion,
    warped_mcd,
)


def noise(samples: int = 16_000, seed: int = 0) -> np.ndarray:
    return 0.1 * np.random.default_rng(seed).standard_normal(samples).astype(np.float32)


def ripple(order: int, size: float) -> np.ndarray:
    """One frame of log mel magnitudes (1, MEL_BANDS): a cosine over the bands."""
    return size * np.cos(math.pi * order * (np.arange(MEL_BANDS) + 0.5) / MEL_BANDS)[None]


@pytest.mark.parametrize("order", [1, 7, NUM_COEFFICIENTS])
def test_a_ripple_is_one_coefficient_and_its_distortion_the_rms_in_db(order: int) -> None:
    cepstra = cepstra_of_mel(ripple(order, 0.4))
    expected = np.zeros((1, NUM_COEFFICIENTS))
    expected[0, order - 1] = 0.4
    np.testing.assert_allclose(cepstra, expected, atol=1e-12)
    flat = cepstra_of_mel(np.zeros((1, MEL_BANDS)))
    rms_db = 20 / math.log(10) * np.sqrt((ripple(order, 0.4) ** 2).mean())
    assert distortion(cepstra, flat)[0] == pytest.approx(rms_db)
    # The formula as it is written in papers.
    assert distortion(cepstra, flat)[0] == pytest.approx(10 / math.log(10) * math.sqrt(2) * 0.4)


def test_what_is_finer_than_the_coefficients_does_not_count() -> None:
    fine = cepstra_of_mel(ripple(NUM_COEFFICIENTS + 1, 1.0))
    np.testing.assert_allclose(fine, 0, atol=1e-12)


def test_equal_clips_have_none_and_loudness_is_left_out() -> None:
    clip = noise()
    assert aligned_mcd(clip, clip) == 0
    assert aligned_mcd(clip, clip / 2) == pytest.approx(0, abs=1e-3)
    assert warped_mcd(clip, clip / 2) == pytest.approx(0, abs=1e-3)


def test_a_filter_costs_what_its_response_says() -> None:
    # A one-tap comb of 8 samples: ripples in frequency, the same in every frame.
    clip = noise(48_000)
    filtered = clip.copy()
    filtered[1:] += 0.9 * clip[:-1]  # a tilt: 5.6 dB up at 0 Hz, 20 dB down at 8 kHz
    found = aligned_mcd(clip, filtered)
    tilt = np.log(np.abs(1 + 0.9 * np.exp(-1j * np.pi * _mel_centres_hz() / 8_000)))[None]
    wanted = distortion(cepstra_of_mel(tilt), cepstra_of_mel(0 * tilt))[0]
    assert found == pytest.approx(wanted, rel=0.1)
    assert found > 3


def test_silent_frames_do_not_count() -> None:
    clip = np.concatenate([noise(), np.zeros(16_000, np.float32)])
    other = clip + np.concatenate([np.zeros(16_800, np.float32), noise(15_200, seed=3)]) * 1e-3
    assert aligned_mcd(clip, other) < 0.1
    assert aligned_mcd(np.zeros(16_000, np.float32), clip[:16_000]) is None
    assert warped_mcd(np.zeros(16_000, np.float32), clip) is None


def test_warping_follows_another_pace() -> None:
    pieces = [noise(8_000, seed) for seed in range(4)]
    tilted = [
        np.convolve(p, [1, a], "same") for p, a in zip(pieces, (0, 0.9, -0.9, 0), strict=True)
    ]
    slow = np.concatenate([np.tile(p, 2) for p in tilted]).astype(np.float32)
    fast = np.concatenate(tilted).astype(np.float32)
    other_order = np.concatenate(tilted[::-1]).astype(np.float32)
    assert warped_mcd(fast, slow) < 0.6 * warped_mcd(other_order, slow)
    assert warped_mcd(fast, fast) == pytest.approx(0, abs=1e-3)


def _mel_centres_hz() -> np.ndarray:
    top = float(hz_to_mel(torch.tensor(8_000.0, dtype=torch.float64)))
    return mel_to_hz(torch.linspace(0, top, MEL_BANDS + 2, dtype=torch.float64))[1:-1].numpy()
