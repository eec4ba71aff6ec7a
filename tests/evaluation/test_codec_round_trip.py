import json

import numpy as np
import pytest
import torch

from fireredtts2.evaluation.codec_round_trip import (
    RoundTrip,
    mel_distance,
    round_trip,
    score_round_trip,
)
from tests.evaluation.fakes import FakeCodec, fake_judges, tone


def test_mel_distance_of_equal_and_of_ten_times_louder_clips() -> None:
    noise = 0.1 * np.random.default_rng(0).standard_normal(24_000).astype(np.float32)
    assert mel_distance(noise, noise) == 0
    assert mel_distance(noise, 10 * noise) == pytest.approx(1.0, abs=1e-4)  # log10 of magnitudes
    assert mel_distance(noise, noise[:12_000]) < 0.01  # over the common length


def test_the_round_trip_is_as_long_as_the_clip() -> None:
    class PaddingCodec(FakeCodec):
        def decode(self, codes: torch.Tensor) -> torch.Tensor:
            return torch.nn.functional.pad(super().decode(codes), (0, 1_000))

    assert round_trip(PaddingCodec(), tone(300, 1.0, 16_000)).shape == (24_000,)


def test_a_codec_that_loses_words_pays_for_them() -> None:
    judges = fake_judges(["one two", "one two three"])
    audio = tone(200, 1.01)
    kept = score_round_trip(audio, 24_000, audio, "One two three.", judges)
    assert (kept.original.words.errors, kept.decoded.words.errors) == (0, 0)
    assert kept.similarity == 1.0
    assert kept.mcd == 0
    # 10 ms shorter: the fake hears text 0
    lost = score_round_trip(audio, 24_000, audio[:-240], "One two three.", judges)
    assert lost.decoded.words.errors == 1
    assert lost.as_row()["word_errors_original"] == 0
    assert RoundTrip.from_json(json.loads(json.dumps(lost.as_json()))).as_row() == lost.as_row()
