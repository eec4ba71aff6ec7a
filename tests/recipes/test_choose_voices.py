"""What a prompt is worth: likeness, less what wrong words weigh."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from fireredtts2.evaluation.corpus import HeldOutClip, recordings_of
from fireredtts2.evaluation.judges import Judges
from fireredtts2.evaluation.profiles import RECORDINGS_PER_VOICE
from fireredtts2.evaluation.speaker import VoiceProfile
from recipes.mini import choose_voices, export
from recipes.mini.choose_voices import ERROR_WEIGHT, SENTENCES, Chooser
from recipes.mini.export import may_be_prompt
from tests.evaluation.fakes import PITCH_HZ, fake_voice

ROW = {"id": 10, "speaker": "af_heart", "text": "It is late.", "kind": "talk", "samples": 96_000}


class Hearer:
    """Says one text after the other, whatever it hears."""

    def __init__(self, texts: list[str]) -> None:
        self.texts = list(texts)

    def transcribe(self, audio: np.ndarray) -> str:
        return self.texts.pop(0)


class Listener:
    def embed(self, audio: np.ndarray) -> np.ndarray:
        return np.array([1.0, audio.max(), 0.0], np.float32)


@pytest.mark.parametrize("heard", [list(SENTENCES), [SENTENCES[0], "", *SENTENCES[2:]]])
def test_wrong_words_weigh_beside_the_likeness(heard: list[str]) -> None:
    chooser = object.__new__(Chooser)
    chooser.judges = Judges(Hearer(heard), str.lower, Listener())
    audio = SimpleNamespace(audio=SimpleNamespace(numpy=lambda: np.zeros(24_000, np.float32)))
    chooser.tts = SimpleNamespace(say=lambda *_, **__: audio)
    profile = VoiceProfile("a", np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]), "recordings")
    words = [len(one.split()) for one in SENTENCES]
    errors = (words[1] if heard[1] == "" else 0) / sum(words)
    score = chooser._score(fake_voice(next(iter(PITCH_HZ))), profile)
    assert score == pytest.approx(0.5 - ERROR_WEIGHT * errors)


@pytest.mark.parametrize(
    ("change", "may"),
    [
        ({}, True),
        ({"text": "It is 5 o'clock."}, False),
        ({"text": "We talked about the mule, the sky, and the tax."}, False),
        ({"speaker": "blend012"}, False),
        ({"speaker": "af_heart~1.070"}, False),
        ({"id": 101}, False),  # held out
        ({"kind": "list"}, False),
        ({"samples": 24_000}, False),
        ({"samples": 240_000}, False),
    ],
)
def test_which_clips_may_be_prompts(change: dict, may: bool) -> None:
    assert may_be_prompt(ROW | change) == may


def test_a_model_without_voices_is_warned_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "index.jsonl").write_text(json.dumps(ROW | {"kind": "list"}))
    export.write_voices(tmp_path, tmp_path, "codec")
    assert "no voice is written" in caplog.text


def test_recordings_are_none_of_the_evaluations() -> None:
    chooser = object.__new__(Chooser)
    rows = [ROW | {"id": 100 * n, "seconds": 4.0} for n in range(15)]
    chooser.rows = {"af_heart": rows, "af_bella": rows[:10]}
    held_out = [HeldOutClip(r["id"], "af_heart", "talk", "", r["seconds"], b"") for r in rows]
    judged = recordings_of("af_heart", held_out, RECORDINGS_PER_VOICE)
    chosen = chooser._recordings("af_heart")
    assert len(chosen) == 5
    assert not {clip.id for clip in judged} & {row["id"] for row in chosen}
    with pytest.raises(ValueError, match="af_bella: the corpus has 10 held-out recordings"):
        chooser.best("af_bella")


def test_only_the_corpus_voices_are_chosen_anew() -> None:
    assert choose_voices.named(["af_heart", "anna", "bm_george"]) == ["af_heart", "bm_george"]
