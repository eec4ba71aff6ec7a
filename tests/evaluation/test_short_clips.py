"""Short clips are heard in few windows, as short as they are, and come back in order."""

from types import SimpleNamespace

import numpy as np
import pytest

from fireredtts2.evaluation import short_clips
from fireredtts2.evaluation.short_clips import CLIPS_AT_ONCE, ShortClipTranscriber

HOP = 160


class FakeWhisper:
    """Hears in a clip the loudness that it has, and remembers its windows."""

    is_multilingual = False
    hf_tokenizer = None

    def __init__(self, *_: object, **__: object) -> None:
        self.model = self
        self.windows: list[tuple[int, ...]] = []

    def feature_extractor(self, clip: np.ndarray, padding: int) -> np.ndarray:
        frames = (len(clip) + padding) // HOP + 1
        return np.full((80, frames), float(clip.max()))

    def encode(self, features: np.ndarray) -> np.ndarray:
        self.windows.append(features.shape)
        return features

    def generate(self, encoded: np.ndarray, prompts: list, **_: object) -> list:
        assert len(prompts) == len(encoded)
        loudness = encoded[:, 0, 0]
        return [SimpleNamespace(sequences_ids=[[round(float(one) * 100)]]) for one in loudness]


@pytest.fixture
def transcriber(monkeypatch: pytest.MonkeyPatch) -> ShortClipTranscriber:
    tokenizer = SimpleNamespace(
        sot_sequence=[1], no_timestamps=2, decode=lambda ids: f" loudness {ids[0]}"
    )
    modules = {
        "faster_whisper": SimpleNamespace(WhisperModel=FakeWhisper),
        "faster_whisper.tokenizer": SimpleNamespace(Tokenizer=lambda *_, **__: tokenizer),
        "ctranslate2": SimpleNamespace(StorageView=SimpleNamespace(from_array=lambda a: a)),
    }
    monkeypatch.setattr(short_clips, "load_extra", modules.__getitem__)
    return ShortClipTranscriber("anywhere")


def clip(seconds: float, loudness: float) -> np.ndarray:
    return np.full(round(seconds * 16_000), loudness, np.float32)


def test_every_clip_gets_its_own_words(transcriber: ShortClipTranscriber) -> None:
    lengths = np.random.default_rng(0).uniform(0.5, 20, 2 * CLIPS_AT_ONCE + 3)
    clips = [clip(length, n / 100) for n, length in enumerate(lengths)]
    heard = transcriber.transcribe(clips)
    assert heard == [f"loudness {n}" for n in range(len(clips))]
    windows = transcriber._whisper.windows
    assert len(windows) == 3
    assert windows[-1][2] == pytest.approx(100 * max(lengths), abs=1)
    assert all(1_000 <= frames <= 2_000 for _, _, frames in windows)


def test_what_holds_no_word_is_not_listened_to(transcriber: ShortClipTranscriber) -> None:
    assert transcriber.transcribe([clip(0.05, 1), clip(0, 1)]) == ["", ""]
    assert transcriber.transcribe([]) == []
    assert transcriber._whisper.windows == []


def test_a_clip_beyond_whispers_window_is_refused(transcriber: ShortClipTranscriber) -> None:
    with pytest.raises(ValueError, match=r"a clip of 31\.0 s: at most 30 s"):
        transcriber.transcribe([clip(31, 1)])
