import random

import numpy as np
import pytest

from fireredtts2.evaluation.metrics import (
    ErrorCount,
    bootstrap_interval,
    char_errors,
    cosine,
    edit_distance,
    mean,
    pooled,
    word_errors,
)


@pytest.mark.parametrize(
    ("reference", "heard", "errors"),
    [
        ("the cat sat", "the cat sat", 0),
        ("the cat sat", "the bat sat", 1),  # substitution
        ("the cat sat", "the sat", 1),  # deletion
        ("the cat sat", "the big cat sat", 1),  # insertion
        ("the cat sat", "", 3),
        ("a b c d", "b c d e", 2),  # a deleted, e inserted: cheaper than four substitutions
        ("one", "two three four", 3),
    ],
)
def test_word_errors_by_hand(reference: str, heard: str, errors: int) -> None:
    assert word_errors(reference, heard) == ErrorCount(errors, len(reference.split()))


def test_char_errors_count_spaces_once() -> None:
    assert char_errors("kitten", "sitting") == ErrorCount(3, 6)
    assert char_errors("a  b", "a b") == ErrorCount(0, 3)
    assert char_errors("ab", "a b") == ErrorCount(1, 2)


def test_an_empty_reference_is_refused() -> None:
    with pytest.raises(ValueError, match="no word"):
        word_errors("  ", "hello")
    with pytest.raises(ValueError, match="empty"):
        char_errors("", "hello")


def test_pooled_rate_weighs_by_length() -> None:
    total = pooled([ErrorCount(1, 2), ErrorCount(0, 8)])
    assert total == ErrorCount(1, 10)
    assert total.rate == pytest.approx(0.1)  # not the mean of 50 % and 0 %


def test_edit_distance_is_symmetric_and_agrees_with_jiwer() -> None:
    jiwer = pytest.importorskip("jiwer")
    stream = random.Random(0)
    for _ in range(50):
        a, b = (stream.choices("abcd", k=stream.randint(1, 9)) for _ in range(2))
        assert edit_distance(a, b) == edit_distance(b, a)
        rate = jiwer.wer(" ".join(a), " ".join(b))
        assert word_errors(" ".join(a), " ".join(b)).rate == pytest.approx(rate)


def test_cosine() -> None:
    assert cosine(np.array([3.0, 4.0]), np.array([4.0, 3.0])) == pytest.approx(24 / 25)
    assert cosine(np.array([1.0, 0.0]), np.array([-2.0, 0.0])) == pytest.approx(-1)
    assert cosine(np.zeros(2), np.array([1.0, 0.0])) == 0


def test_bootstrap_interval_holds_the_rate_and_shrinks_with_more_texts() -> None:
    few = [ErrorCount(n % 3, 10) for n in range(9)]
    low, high = bootstrap_interval(few)
    assert 0 <= low < 0.1 < high
    low_many, high_many = bootstrap_interval(few * 20)
    assert high_many - low_many < (high - low) / 2
    assert bootstrap_interval([ErrorCount(1, 4)] * 5) == (0.25, 0.25)
    assert bootstrap_interval(few) == (low, high)


def test_mean_of_what_is_there() -> None:
    assert mean([1.0, None, 3.0]) == 2.0
    assert mean([None]) is None
