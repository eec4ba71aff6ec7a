"""Levels are those that were made; silence is cut, clipping found, evening stays below the peak."""

import numpy as np
import pytest

from fireredtts2.training.prepare import levels
from tests.training.prepare.speech import RATE_HZ, burst


def silence(seconds: float) -> np.ndarray:
    noise = np.random.default_rng(9).normal(size=round(seconds * RATE_HZ))
    return (noise * 1e-5).astype(np.float32)


@pytest.mark.parametrize("level_dbfs", [-40.0, -23.0, -15.0])
@pytest.mark.parametrize("rate_hz", [16_000, 44_100])
def test_pauses_do_not_count(level_dbfs: float, rate_hz: int) -> None:
    speech = burst(2.0, level_dbfs=level_dbfs, rate_hz=rate_hz)
    pauses = np.zeros(speech.size, np.float32)
    alone = levels.active_level(speech, rate_hz)
    assert alone == pytest.approx(level_dbfs, abs=0.3)
    assert levels.active_level(np.concatenate([pauses, speech]), rate_hz) == pytest.approx(
        alone, abs=0.1
    )


def test_evening_brings_to_the_level_below_the_peak() -> None:
    for level_dbfs in (-45.0, -14.0):
        speech = burst(1.0, level_dbfs=level_dbfs)
        even = speech * levels.even_gain(speech, RATE_HZ, -23.0)
        assert levels.active_level(even, RATE_HZ) == pytest.approx(-23.0, abs=0.1)
    loud = speech * levels.even_gain(speech, RATE_HZ, -3.0)
    assert np.abs(loud).max() == pytest.approx(10 ** (-1 / 20), rel=1e-4)
    assert levels.even_gain(np.zeros(99, np.float32), RATE_HZ, -23.0) == 1.0


def test_silent_ends_are_cut_but_for_a_rest() -> None:
    speech = burst(1.0)
    audio = np.concatenate([silence(0.5), speech, silence(0.8)])
    begin, end = levels.speech_span(audio, RATE_HZ, 0.1)
    assert begin / RATE_HZ == pytest.approx(0.4, abs=0.021)
    assert end / RATE_HZ == pytest.approx(1.6, abs=0.021)
    assert levels.speech_span(speech, RATE_HZ, 0.1) == (0, speech.size)
    # A click is no speech to be loud by: the level is that of the speech.
    audio[100] = 1.0
    assert levels.active_level(audio, RATE_HZ) < -19.0


def test_clipping_is_found_wherever_the_limit_is() -> None:
    speech = burst(1.0, level_dbfs=-10.0)
    assert levels.clipped_share(speech) < 1e-4
    for ceiling in (1.0, 0.5):
        clipped = np.clip(speech * 4, -1, 1) * ceiling
        assert levels.clipped_share(clipped.astype(np.float32)) > 0.05
    assert levels.clipped_share((speech * 4).astype(np.float32)) > 0.05  # beyond full scale
    assert levels.clipped_share(np.zeros(99, np.float32)) == 0.0
