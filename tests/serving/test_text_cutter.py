"""Where a text that comes in pieces is cut."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fireredtts2.serving.live import text_cutter
from fireredtts2.serving.live.text_cutter import TextCutter, is_speakable

#: None of these may be cut.
UNITS = [
    "3.14", "1,250.50", "5:30", "Dr. Smith", "e.g. this", "i.e. that", "U.S. Army", "J. R. Jones",
    "https://example.com/a.b?c=1,2", "anna@example.com", "9 a.m. today", "v2.0.1", "No. 5",
    "St. Louis", "Ph.D. thesis", "etc. and",
]  # fmt: skip
WORDS = ["so", "we", "go", "there", "the", "of", "again", "Maybe", "don't", *UNITS]
MARKS = [" ", " ", " ", ", ", ". ", "! ", "? ", "; ", "... ", "\n", ' ." ', " — ", "。", "，"]
texts = st.lists(st.tuples(st.sampled_from(WORDS), st.sampled_from(MARKS)), max_size=60).map(
    lambda parts: "".join(word + mark for word, mark in parts)
)
anything = st.text(st.sampled_from("ab1.,!?…。，:;—\"') \n\t今天"), max_size=300)


def cut(*parts: str) -> list[str]:
    cutter = TextCutter()
    pieces = [piece for part in parts for piece in cutter.push(part)]
    return [*pieces, *cutter.flush()]


def in_parts(text: str, seed: int) -> list[str]:
    chance, parts = random.Random(seed), []
    while text:
        size = chance.choice([1, 1, 2, 3, 7, 40])
        parts, text = [*parts, text[:size]], text[size:]
    return parts


@given(texts | anything | st.text(max_size=200), st.integers(0, 9))
def test_nothing_is_lost_or_doubled_and_the_cuts_are_the_same(text: str, seed: int):
    whole = cut(text)
    assert "".join(whole) == text
    assert cut(*in_parts(text, seed)) == whole


@given(texts, st.lists(st.sampled_from(["push", "pause", "flush"]), max_size=60), st.integers(0, 9))
def test_nothing_is_lost_with_pauses_either(text: str, calls: list[str], seed: int):
    cutter, out, parts = TextCutter(), "", in_parts(text, seed)
    for call in [*calls, *["push"] * len(parts)]:
        if call == "push" and parts:
            out += "".join(cutter.push(parts.pop(0)))
        elif call == "pause":
            out += "".join(cutter.pause())
        elif call == "flush":
            out += "".join(cutter.flush())
    assert out + "".join(cutter.flush()) == text


@given(texts)
def test_pieces_but_the_last_can_be_spoken(text: str):
    assert all(is_speakable(piece) for piece in cut(text)[:-1])


@given(
    st.lists(st.sampled_from(WORDS), min_size=1, max_size=50), st.sampled_from([" ", ", ", ". "])
)
def test_units_are_never_cut(words: list[str], joint: str):
    text = joint.join(words)
    ends, place = set(), 0
    for piece in cut(text):
        place += len(piece)
        ends.add(place)
    place = 0
    for word in words:
        place = text.index(word, place)
        inside = ends & set(range(place + 1, place + len(word)))
        assert not inside, (word, text)
        place += len(word)


@given(st.sampled_from(UNITS), st.integers(1, 30))
def test_a_pause_cuts_no_unit_that_is_under_way(unit: str, so_far: int):
    cutter = TextCutter()
    cutter.push("Well then " + unit[:so_far])
    rest = unit[so_far:]
    said = "".join(cutter.pause())
    if rest.strip() and " " not in unit:
        assert said.strip() in ("Well then", "")


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ("Hello there. How are you today? Fine.",
         ["Hello there.", " How are you today?", " Fine."]),
        ("Yes. I do think so. No. Never again.", ["Yes. I do think so.", " No. Never again."]),
        ("When it rains in the city, we stay in. Then we go out.",
         ["When it rains in the city,", " we stay in.", " Then we go out."]),
        ("It is 3.14, as Dr. Smith says, e.g. here. Good.",
         ["It is 3.14, as Dr. Smith says,", " e.g. here. Good."]),
        ('She said "No way!" Then she left us.', ['She said "No way!"', " Then she left us."]),
        ("今天天气很好，我们出去吧。好的。", ["今天天气很好，", "我们出去吧。", "好的。"]),
        ("- one thing\n- another\n", ["- one thing\n", "- another\n"]),
        ("...", ["..."]),
    ],
)  # fmt: skip
def test_examples(text: str, pieces: list[str]):
    assert cut(text) == pieces


def test_the_first_piece_does_not_wait_for_the_sentences_end():
    cutter = TextCutter()
    words = ["word" + "abcdefghijklm"[number] for number in range(13)]
    out = [piece for word in words for piece in cutter.push(word + " ")]
    assert len(out[0].split()) == text_cutter.FIRST_WORDS


def test_a_pause_says_what_is_whole():
    cutter = TextCutter()
    cutter.push("I think it is tomor")
    assert cutter.pause() == ["I think it is "]
    assert cutter.num_waiting == len("tomor")
    cutter = TextCutter()
    cutter.push("Good evening.")
    assert cutter.pause() == ["Good evening."]
    cutter = TextCutter()
    cutter.push("It is 3.")
    assert "3" not in "".join(cutter.pause())
    cutter = TextCutter()
    cutter.push("Ask Dr.")
    assert "Dr" not in "".join(cutter.pause())


@settings(deadline=None, max_examples=20)
@given(st.sampled_from(["a", ".", " ", "1,", "今", "\t", "dr. "]), st.integers(1, 6))
def test_it_never_holds_more_than_so_much(unit: str, size: int):
    cutter = TextCutter()
    for _ in range(6_000 // len(unit)):
        cutter.push(unit * size)
        assert cutter.num_waiting <= text_cutter.MAX_RUN_CHARACTERS + len(unit) * size
