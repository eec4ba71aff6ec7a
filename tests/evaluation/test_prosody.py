import numpy as np
import pytest

from fireredtts2.evaluation.prosody import (
    PyinTracker,
    active_frames,
    measure_prosody,
    pitch_figures,
    silent_runs,
)
from tests.evaluation.fakes import tone


def speech(*pieces: tuple[float, bool]) -> np.ndarray:
    """Tones and silences of so many seconds, at 16 kHz."""
    return np.concatenate([tone(200, s, 16_000) * is_sound for s, is_sound in pieces])


def test_pauses_and_pace() -> None:
    # A silence at the edge is no pause, nor is one as short as a stop consonant's.
    clip = speech((0.5, False), (1.0, True), (0.1, False), (0.9, True), (0.5, False), (1.0, True),
                  (0.3, False), (0.2, True), (1.0, False))  # fmt: skip
    prosody = measure_prosody(clip, num_words=8)
    assert prosody.longest_pause_s == pytest.approx(0.5, abs=0.02)
    assert prosody.pause_share == pytest.approx(0.8 / 4.0, abs=0.01)
    assert prosody.words_per_s == pytest.approx(8 / 3.2, abs=0.05)
    assert prosody.pitch_hz is None  # nobody tracks it


def test_loudness_does_not_matter_but_silence_has_no_figures() -> None:
    clip = speech((1.0, True), (0.4, False), (1.0, True))
    assert measure_prosody(clip / 20, 5) == measure_prosody(clip, 5)
    for silence in (np.zeros(16_000, np.float32), np.zeros(10, np.float32)):
        assert measure_prosody(silence, 0).pause_share is None


def test_runs_of_silence() -> None:
    assert silent_runs(np.array([1, 0, 0, 1, 0, 1, 1], dtype=bool)) == [2, 1]
    assert silent_runs(np.array([1, 1], dtype=bool)) == []
    assert active_frames(np.zeros(0, np.float32)).shape == (0,)


def test_an_octave_is_twelve_semitones() -> None:
    track = np.concatenate([np.full(50, 100.0), np.full(50, 200.0), np.full(30, np.nan)])
    median, pitch_range = pitch_figures(track)
    assert median == pytest.approx(150.0)
    assert pitch_range == pytest.approx(12.0)
    assert pitch_figures(np.full(50, 120.0)) == (120.0, 0.0)
    assert pitch_figures(np.full(50, np.nan)) == (None, None)


@pytest.mark.slow
def test_the_tracker_finds_the_pitch_of_a_glide() -> None:
    pytest.importorskip("librosa")
    times = np.arange(32_000) / 16_000
    phase = 2 * np.pi * 100 * (2 ** (times / 2) - 1) * 2 / np.log(2)  # 100 to 200 Hz in 2 s
    glide = sum(np.sin(k * phase) / k for k in range(1, 9)).astype(np.float32) * 0.2
    prosody = measure_prosody(glide, 4, PyinTracker())
    assert prosody.pitch_hz == pytest.approx(141.4, rel=0.03)
    assert prosody.pitch_range_st == pytest.approx(0.9 * 12, abs=0.6)
    assert measure_prosody(glide[:500], 1, PyinTracker()).pitch_hz is None
