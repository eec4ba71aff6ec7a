"""Text as people type it, read out as people say it."""

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fireredtts2.english.number_words import Reading, cardinal, digits, ordinal, year
from fireredtts2.normalize import normalize

LINES = (Path(__file__).parent / "data" / "normalize_cases.tsv").read_text(encoding="utf-8")
CASES = [tuple(line.split("\t")) for line in LINES.splitlines()]
BRITISH = Reading(hundred_and=True)


def test_there_are_enough_cases() -> None:
    assert len(CASES) >= 200
    assert len({typed for typed, _ in CASES}) == len(CASES)


@pytest.mark.parametrize(("typed", "said"), CASES)
def test_said(typed: str, said: str) -> None:
    assert normalize(typed) == said
    assert normalize(said) == said


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("", ""),
        ("First line\nSecond line", "First line. Second line"),
        ("# Title\n\n- one\n- two!", "Title. one. two!"),
        ("fullwidth １２", "fullwidth twelve"),
        ("zero\u200bwidth", "zerowidth"),
        ("non\u00a0breaking", "non breaking"),
        ("9" * 25, " ".join(["nine"] * 25)),
    ],
)
def test_shapes_of_text(typed: str, said: str) -> None:
    assert normalize(typed) == said


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (0, "zero"),
        (13, "thirteen"),
        (40, "forty"),
        (99, "ninety-nine"),
        (100, "one hundred"),
        (1001, "one thousand one"),
        (1_000_000, "one million"),
        (12_345_678, "twelve million three hundred forty-five thousand six hundred seventy-eight"),
        (-7, "minus seven"),
        (10**30, "one " + " ".join(["zero"] * 30)),
    ],
)
def test_cardinal(number: int, words: str) -> None:
    assert cardinal(number) == words


def test_british_hundreds() -> None:
    assert cardinal(1105, BRITISH) == "one thousand one hundred and five"
    assert cardinal(2003, BRITISH) == "two thousand and three"
    assert (
        normalize("It was 495 degrees.", BRITISH) == "It was four hundred and ninety-five degrees."
    )


def test_cardinal_days() -> None:
    assert normalize("March 20", Reading(ordinal_days=False)) == "March twenty"


def test_ordinals_years_digits() -> None:
    assert [ordinal(n) for n in (1, 12, 20, 21, 100)] == [
        "first", "twelfth", "twentieth", "twenty-first", "one hundredth",
    ]  # fmt: skip
    assert [year(n) for n in (1066, 1900, 1905, 2000, 2009, 2024)] == [
        "ten sixty-six", "nineteen hundred", "nineteen oh five", "two thousand",
        "two thousand nine", "twenty twenty-four",
    ]  # fmt: skip
    assert digits("07-5") == "zero seven five"


@given(st.integers(0, 10**20))
def test_every_number_has_words(number: int) -> None:
    assert not any(map(str.isdigit, cardinal(number) + ordinal(number)))


@settings(max_examples=50, deadline=None)
@given(st.text(max_size=80))
def test_nothing_breaks_it_and_no_digit_stays(text: str) -> None:
    assert not any(character in "0123456789" for character in normalize(text))


@settings(deadline=None)
@given(st.text(alphabet="1290.,:/-$%'\"apmkst #@°x", max_size=30))
def test_numbers_in_any_company(text: str) -> None:
    assert not any(character in "0123456789" for character in normalize(text))


def test_every_number_is_said_in_a_sentence() -> None:
    for number in range(10_001):
        said = normalize(f"I have {number} cats.")
        assert said in (f"I have {cardinal(number)} cats.", f"I have {year(number)} cats.")


@pytest.mark.parametrize(
    "faces", [":) Great :-( job ;) =D", "<3 Great :3 job 8-) xD", "Great job :P"]
)
def test_faces_are_not_said(faces: str) -> None:
    assert normalize(faces) == "Great job"


@pytest.mark.parametrize(
    "unit", ["a", "ab", "1", "1,", "1-", "1:", "$1", "a.", "A.", "-", "(1) ", "Dr. ", ", "]
)
def test_long_text_takes_no_longer_than_its_length(unit: str) -> None:
    normalize(unit * (10_000 // len(unit)))
