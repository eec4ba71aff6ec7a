from dataclasses import replace

import numpy as np
import pytest
import torch

from fireredtts2.evaluation import score_clips
from fireredtts2.evaluation.clips import for_judges, score_clip
from fireredtts2.evaluation.metrics import ErrorCount
from fireredtts2.evaluation.speaker import VoiceProfile, nearest_voice
from tests.evaluation.fakes import fake_judges, tone

HEARD = ["the cat sat", "a dog barked loudly", "three words here"]


def clip(number: int, hz: float = 200.0) -> torch.Tensor:
    return torch.from_numpy(tone(hz, 1 + number / 100))


def test_scores_of_tensors_without_a_model() -> None:
    pairs = [(clip(0), "The cat sat."), (clip(1)[None], "A dog barks.")]
    scores = score_clips(pairs, fake_judges(HEARD))
    assert [score.words.errors for score in scores.clips] == [0, 2]
    assert scores.wer == pytest.approx(2 / 6)
    assert scores.cer == pytest.approx((2 + 7) / (11 + 11))  # barks: ed for s; " loudly" added
    assert scores.clips[1].seconds == pytest.approx(1.01)
    assert scores.dnsmos is not None
    assert scores.similarity is None  # no profile was given
    low, high = scores.wer_interval
    assert low <= scores.wer <= high


def test_where_characters_are_words_the_spaces_between_them_are_not_counted() -> None:
    texts = ["今 天 天 气 好"]
    judges = replace(fake_judges(texts), is_unspaced=True)
    score = score_clip(clip(0), "今 天 天 氣 很 好", judges)
    assert score.words == score.chars == ErrorCount(errors=2, length=6)


def test_an_empty_clip_misses_every_word() -> None:
    score = score_clip(np.zeros(0, np.float32), "Three words here.", fake_judges(HEARD))
    assert (score.words.errors, score.words.length) == (3, 3)
    assert score.dnsmos is None
    assert score.embedding is None


def test_no_clips_and_two_channels_are_refused() -> None:
    with pytest.raises(ValueError, match="no clips"):
        score_clips([], fake_judges(HEARD))
    with pytest.raises(ValueError, match=r"\(2, 8\)"):
        for_judges(torch.zeros(2, 8), 24_000)


def test_judges_get_16_khz() -> None:
    assert for_judges(tone(200, 1.0), 24_000).shape == (16_000,)
    assert for_judges(tone(200, 1.0), 24_000).dtype == np.float32


def test_similarity_is_the_mean_cosine_to_each_recording() -> None:
    profile = VoiceProfile("anna", np.array([[1.0, 0, 0], [0.6, 0.8, 0]]), "recordings")
    assert profile.similarity(np.array([1.0, 0, 0])) == pytest.approx(0.8)
    score = score_clip(clip(0, 400.0), "The cat sat.", fake_judges(HEARD), profile=profile)
    assert score.similarity == pytest.approx(0.4)  # 400 Hz is the second fake voice: (0 + 0.8) / 2


def test_nearest_voice() -> None:
    profiles = {
        "anna": VoiceProfile("anna", np.array([[1.0, 0.0]]), "recordings"),
        "ben": VoiceProfile("ben", np.array([[0.0, 1.0]]), "recordings"),
    }
    assert nearest_voice(np.array([0.9, 0.5]), profiles) == "anna"
    assert nearest_voice(np.array([0.4, 0.5]), profiles) == "ben"
