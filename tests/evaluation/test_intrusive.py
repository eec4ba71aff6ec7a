import sys

import numpy as np
import pytest

from fireredtts2.evaluation.intrusive import Fidelity, PesqAndStoi

RATE_HZ = 16_000


def speech_like(seed: int = 0) -> np.ndarray:
    """Two seconds of syllables: harmonics of a moving pitch that come and go."""
    times = np.arange(2 * RATE_HZ) / RATE_HZ
    phase = 2 * np.pi * np.cumsum(120 + 20 * np.sin(2 * np.pi * times)) / RATE_HZ
    harmonics = sum(np.sin(k * phase) / k for k in range(1, 25))
    envelope = np.maximum(np.sin(2 * np.pi * 4 * times), 0)
    rustle = 0.01 * np.random.default_rng(seed).standard_normal(len(times))
    return (0.1 * envelope * harmonics + rustle * envelope).astype(np.float32)


def noisy(clip: np.ndarray, size: float) -> np.ndarray:
    added = np.random.default_rng(9).standard_normal(len(clip)).astype(np.float32)
    return clip + size * added


@pytest.fixture(scope="module")
def judge() -> PesqAndStoi:
    pytest.importorskip("pystoi")
    pytest.importorskip("pesq")
    return PesqAndStoi()


def test_a_clip_is_its_own_best_copy_and_noise_costs(judge: PesqAndStoi) -> None:
    clip = speech_like()
    same = judge.compare(clip, clip)
    assert same.pesq_wb == pytest.approx(4.644, abs=0.01)  # the top of P.862.2's scale
    assert same.pesq_nb == pytest.approx(4.549, abs=0.01)
    assert same.stoi == pytest.approx(1.0, abs=1e-4)
    some, much = (judge.compare(clip, noisy(clip, size)) for size in (0.01, 0.1))
    assert same.pesq_wb > some.pesq_wb > much.pesq_wb >= 1.0
    assert same.stoi > some.stoi > much.stoi


def test_what_holds_no_speech_has_no_score(judge: PesqAndStoi) -> None:
    nothing = Fidelity(None, None, None)
    assert judge.compare(np.zeros(RATE_HZ, np.float32), speech_like()) == nothing
    assert judge.compare(speech_like()[:4_000], speech_like()) == nothing
    short = speech_like()[:9_000]  # the syllables in it are too few frames for STOI
    assert judge.compare(short, short).stoi is None


def test_without_pesq_the_rest_is_measured(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("pystoi")
    monkeypatch.setitem(sys.modules, "pesq", None)
    found = PesqAndStoi().compare(speech_like(), noisy(speech_like(), 0.01))
    assert found.pesq_wb is None
    assert found.stoi is not None
    assert "pip install pesq" in caplog.text
