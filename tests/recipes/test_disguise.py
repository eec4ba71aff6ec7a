"""Codes in another voice: as long as the clip, the same words, another pitch."""

from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("parselmouth", reason="pip install praat-parselmouth")

from fireredtts2.config import OUTPUT_RATE_HZ
from fireredtts2.training.pitch import track_pitch
from recipes.mini import disguise
from tests import tiny

SECONDS = 2


def hum(hertz: float) -> np.ndarray:
    """A buzz with overtones, which has a pitch and a spectrum."""
    time = np.arange(SECONDS * OUTPUT_RATE_HZ) / OUTPUT_RATE_HZ
    tones = [np.sin(2 * np.pi * hertz * k * time) / k for k in range(1, 20)]
    return (0.1 * np.sum(tones, axis=0)).astype(np.float32)


def pitch_of(audio: np.ndarray) -> float:
    tracked = track_pitch(torch.from_numpy(audio)[None])[0]
    return float(tracked[tracked > 0].median())


def test_pitch_moves_and_length_and_loudness_stay():
    own = hum(150)
    higher = disguise.disguised(own, 1.1, 1.3)
    assert higher.shape == own.shape
    assert higher.dtype == np.float32
    assert pitch_of(higher) == pytest.approx(1.3 * 150, rel=0.03)
    assert (higher**2).mean() == pytest.approx((own**2).mean(), rel=1e-3)


def test_what_has_no_pitch_comes_back_as_it_was():
    silence = np.zeros(OUTPUT_RATE_HZ, np.float32)
    assert np.array_equal(disguise.disguised(silence, 1.1, 1.3), silence)


def test_a_clips_factors_are_its_own_and_bounded():
    factors = np.array([disguise.factors_of(clip) for clip in range(300)])
    assert disguise.factors_of(7) == disguise.factors_of(7)
    assert len(np.unique(factors[:, 0])) > 250
    bounds = np.array([disguise.FORMANT_BOUND, disguise.PITCH_BOUND])
    assert (np.abs(np.log(factors)) <= bounds + 1e-9).all()


def test_codes_are_as_many_as_the_clips_own(monkeypatch: pytest.MonkeyPatch):
    codec = tiny.codec()
    samples = (np.concatenate([hum(150), hum(220)]) * 32_768).astype(np.int16)
    half = SECONDS * OUTPUT_RATE_HZ
    rows = [{"id": n, "offset": n * half, "samples": half - 1000 * n} for n in range(2)]
    result = disguise.disguised_codes(codec, rows, samples)
    assert result["clip"].tolist() == [0, 1]
    assert result["frames"].tolist() == [25, 25]
    assert result["codes"].shape == (tiny.NUM_CODEBOOKS, 50)


def test_a_second_run_goes_on_where_the_first_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    rows = {n: {"id": n, "shard": f"shard_00{n}.tar"} for n in range(3)}
    asked: list[int] = []

    def codes(codec: object, mine: list[dict], samples: object) -> dict[str, np.ndarray]:
        asked.extend(row["id"] for row in mine)
        return {"clip": np.array([row["id"] for row in mine])}

    monkeypatch.setattr(disguise, "frozen_codec", lambda work: None)
    monkeypatch.setattr(disguise, "open_samples", lambda work: None)
    monkeypatch.setattr(disguise, "read_index", lambda work: rows)
    monkeypatch.setattr(disguise, "disguised_codes", codes)
    disguise.main(str(tmp_path), "001")
    assert [path.name for path in tmp_path.iterdir()] == ["disguised_001.npz"]
    disguise.main(str(tmp_path))
    assert asked == [1, 0, 2]
