import json
import lzma
import os
import re
from pathlib import Path

import pytest

from fireredtts2.evaluation.items import dialogue_items, extra_items, sentence_items
from fireredtts2.evaluation.sets import load_dialogues, load_sentences, voice_pair

CORPUS = Path(os.environ.get("FIREREDTTS2_CORPUS", Path(__file__).parents[3] / "shared" / "corpus"))
VOICES = ["a", "b", "c", "d", "e"]


def plain(text: str) -> str:
    return re.sub(r"[^a-z0-9 ]", "", text.lower()).strip()


def all_texts() -> list[str]:
    lines = [line.text for dialogue in load_dialogues(10) for line in dialogue.lines]
    return load_sentences(100) + lines


def test_a_hundred_different_sentences_of_everyday_length() -> None:
    sentences = load_sentences(100)
    assert len({plain(text) for text in sentences}) == 100
    assert all(5 <= len(text.split()) <= 20 for text in sentences)
    assert all(text.isascii() and text[-1] in ".?!" for text in sentences)
    assert sum(any(c.isdigit() for c in text) for text in sentences) >= 10
    assert sum(text.endswith("?") for text in sentences) >= 15


def test_ten_dialogues_of_six_turns_in_turn() -> None:
    dialogues = load_dialogues(10)
    assert len({dialogue.id for dialogue in dialogues}) == 10
    for dialogue in dialogues:
        assert [line.speaker for line in dialogue.lines] == ["S1", "S2"] * 3
    assert len({plain(text) for text in all_texts()}) == 160


@pytest.mark.skipif(not CORPUS.is_dir(), reason=f"no corpus at {CORPUS}")
def test_nothing_of_it_is_in_the_corpus() -> None:
    with lzma.open(CORPUS / "sentences.jsonl.xz", "rt", encoding="utf-8") as file:
        texts = [json.loads(line)["text"] for line in file]
    known = {plain(part) for text in texts for part in [text, *re.split(r"(?<=[.!?]) ", text)]}
    assert len(known) > 20_000
    assert [text for text in all_texts() if plain(text) in known] == []


@pytest.mark.parametrize("count", [0, 101])
def test_a_wrong_count_is_refused(count: int) -> None:
    with pytest.raises(ValueError, match="1 to 100"):
        load_sentences(count)


def test_voice_pairs_are_two_voices_and_do_not_come_again() -> None:
    pairs = [voice_pair(n, VOICES) for n in range(10)]
    assert len({frozenset(pair) for pair in pairs}) == 10
    assert all(first != second for first, second in pairs)
    assert voice_pair(10, VOICES) == pairs[0]
    with pytest.raises(ValueError, match="two named voices"):
        voice_pair(0, ["a"])


def test_sentences_go_round_the_voices() -> None:
    items = sentence_items(load_sentences(100), VOICES, seed=1)
    spoken = [item.voices["S1"] for item in items]
    assert [spoken.count(voice) for voice in VOICES] == [20] * 5
    assert len({item.seed for item in items}) == 100


def test_extra_turns_repeat_no_sentence_in_the_same_voice_and_seed() -> None:
    sentences = load_sentences(10)
    base = sentence_items(sentences, VOICES, seed=0)
    items = [*base, *extra_items(sentences, VOICES, 0, 40)]
    assert len({(i.lines, i.voices["S1"]) for i in items}) == 50
    assert len({item.id for item in items}) == 50
    dialogues = dialogue_items(load_dialogues(10), VOICES, 0)
    assert sum(len(item.lines) for item in dialogues) == 60
