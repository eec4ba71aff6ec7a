"""More voices by a teacher: sentences that nobody said, as speakers of mixed styles."""

import json
import lzma
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from fireredtts2.config import OUTPUT_RATE_HZ
from recipes.mini import speak_voices
from recipes.mini.decode_corpus import read_shard
from tests.recipes.test_whole_recipe import write_corpus

NUM_SENTENCES = 40
styles: list[str] = []


def teacher(text: str, style: str, speed: float) -> np.ndarray:
    styles.append(style)
    return 0.01 * np.sin(0.1 * np.arange(OUTPUT_RATE_HZ // 2)).astype(np.float32)


@pytest.fixture
def corpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(speak_voices, "NUM_SPEAKERS", 4)
    monkeypatch.setattr(speak_voices, "CLIPS_PER_SPEAKER", 2)
    monkeypatch.setattr(speak_voices, "CLIPS_PER_SHARD", 5)
    write_corpus(tmp_path / "corpus")
    rows = [
        {"id": n, "kind": "list" if n % 4 == 0 else "talk", "text": f"Sentence {n}."}
        for n in range(100, 100 + NUM_SENTENCES)
    ]
    lines = "\n".join(map(json.dumps, rows))
    (tmp_path / "corpus" / "sentences.jsonl.xz").write_bytes(lzma.compress(lines.encode()))
    return tmp_path / "corpus"


def test_every_speaker_says_something_that_nobody_said(corpus: Path):
    speak_voices.main(str(corpus), f"{__name__}:teacher", "1/2")
    speak_voices.main(str(corpus), f"{__name__}:teacher")
    paths = sorted(corpus.glob("shard_2??.tar"))
    rows = [row for path in paths for row, _ in read_shard(path)]
    assert [row["id"] for row in rows] == [*range(200_000, 200_005), *range(201_000, 201_003)]
    assert Counter(row["speaker"] for row in rows) == {f"voice00{n}": 2 for n in range(4)}
    assert len(styles) == 8  # the second run spoke the first half alone
    numbers = {int(row["text"].split()[1][:-1]) for row in rows}
    assert len(numbers) == 8
    assert min(numbers) > 107  # the last that the corpus says
    assert all(number % 4 for number in numbers)  # no lists


def test_weights_sum_to_one_and_no_voice_of_the_evaluation_has_one():
    rows = speak_voices.planned_rows([{"kind": "talk", "text": str(n)} for n in range(1_000)])
    kept = {"ef_dora", "em_alex", "ff_siwis", "hf_alpha", "hf_beta", "hm_omega", "hm_psi",
            "if_sara", "im_nicola", "pm_alex", "em_santa", "pm_santa", "pf_dora"}  # fmt: skip
    by_speaker = {row["speaker"]: row["style"] for row in rows}
    assert len(by_speaker) == speak_voices.NUM_SPEAKERS
    beyond = 0
    for style in by_speaker.values():
        parts = [part.split(":") for part in style.split("+")]
        assert sum(float(weight) for _, weight in parts) == pytest.approx(1, abs=0.011)
        assert len({voice[1] for voice, _ in parts}) == 1  # one sex
        assert not kept & {voice for voice, _ in parts}
        beyond += any(float(weight) < 0 for _, weight in parts)
    assert 0.2 < beyond / len(by_speaker) < 0.4


def test_missing_sentences_are_named(corpus: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(speak_voices, "CLIPS_PER_SPEAKER", 20)
    with pytest.raises(ValueError, match=r"\d+ sentences of sentences.* 4 speakers need 80"):
        speak_voices.main(str(corpus), f"{__name__}:teacher")
    (corpus / "sentences.jsonl.xz").unlink()
    with pytest.raises(ValueError, match=r"sentences\.jsonl\.xz: no such file"):
        speak_voices.main(str(corpus), f"{__name__}:teacher")
