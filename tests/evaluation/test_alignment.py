import pytest

from fireredtts2.evaluation.alignment import Alignment, align
from fireredtts2.evaluation.metrics import word_errors


@pytest.mark.parametrize(
    ("reference", "heard", "expected"),
    [
        ("the cat sat", "the cat sat", Alignment(0, 0, 0, 0, 0)),
        ("the cat sat", "the the cat sat", Alignment(0, 0, 1, 1, 0)),
        ("i want to go", "i want to i want to go", Alignment(0, 0, 3, 3, 0)),
        ("i want to go", "i want to to to go", Alignment(0, 0, 2, 2, 0)),
        ("the cat sat", "the fat cat sat", Alignment(0, 0, 1, 0, 0)),
        ("one two three four five", "one five", Alignment(0, 3, 0, 0, 3)),
        ("one two three four five six", "one three six", Alignment(0, 3, 0, 0, 2)),
        ("one two three", "", Alignment(0, 3, 0, 0, 3)),
        ("one two three", "one too three", Alignment(1, 0, 0, 0, 0)),
    ],
)
def test_kinds_of_word_errors(reference: str, heard: str, expected: Alignment) -> None:
    found = align(reference, heard)
    assert found == expected
    total = found.substituted + found.omitted + found.inserted
    assert total == word_errors(reference, heard).errors


def test_a_word_that_comes_again_far_away_is_no_repeat() -> None:
    assert align("so we left", "so we left so").repeated == 0


def test_a_text_without_words_is_refused() -> None:
    with pytest.raises(ValueError, match="no word"):
        align("  ", "hello")
