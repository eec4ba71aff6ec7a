"""The arithmetic of the measures: edit distance, error rates, cosine, bootstrap intervals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from fireredtts2.evaluation.bootstrap import pooled_interval


@dataclass(frozen=True)
class ErrorCount:
    """Edits needed to turn what was heard into the reference, and the reference's length."""

    errors: int
    length: int

    @property
    def rate(self) -> float:
        """Errors per reference unit; above 1 where much was added."""
        return self.errors / self.length

    def __add__(self, other: ErrorCount) -> ErrorCount:
        return ErrorCount(self.errors + other.errors, self.length + other.length)


def edit_distance(reference: Sequence[str], heard: Sequence[str]) -> int:
    """The least number of substitutions, deletions and insertions between two sequences."""
    row = list(range(len(heard) + 1))
    for i, expected in enumerate(reference, start=1):
        diagonal, row[0] = row[0], i
        for j, found in enumerate(heard, start=1):
            substitution = diagonal + (expected != found)
            diagonal, row[j] = row[j], min(substitution, row[j] + 1, row[j - 1] + 1)
    return row[-1]


def word_errors(reference: str, heard: str) -> ErrorCount:
    """Word errors of one text; both are split at white space and compared as they are.

    Raises:
        ValueError: the reference has no word.
    """
    words = reference.split()
    if not words:
        raise ValueError(f"the reference text has no word: {reference!r}")
    return ErrorCount(edit_distance(words, heard.split()), len(words))


def char_errors(reference: str, heard: str) -> ErrorCount:
    """Character errors of one text, single spaces between words counted as characters.

    Raises:
        ValueError: the reference has no character.
    """
    chars = " ".join(reference.split())
    if not chars:
        raise ValueError(f"the reference text is empty: {reference!r}")
    return ErrorCount(edit_distance(chars, " ".join(heard.split())), len(chars))


def pooled(counts: Iterable[ErrorCount]) -> ErrorCount:
    """All texts as one: long texts weigh more than short ones, as is usual for error rates."""
    return sum(counts, start=ErrorCount(0, 0))


def bootstrap_interval(
    counts: Sequence[ErrorCount], resamples: int = 1_000, seed: int = 0
) -> tuple[float, float]:
    """The 95 % interval of the pooled rate, texts drawn anew with replacement.

    Returns:
        (low, high), the 2.5th and 97.5th percentile of the resampled rates.
    """
    errors, lengths = [c.errors for c in counts], [c.length for c in counts]
    return pooled_interval(errors, lengths, resamples, seed)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    """Cosine of two vectors (D,); 0 where one of them is all zeros (silence has no direction)."""
    norms = float(np.linalg.norm(a) * np.linalg.norm(b))
    return float(np.dot(a, b)) / norms if norms > 0 else 0.0


def mean(values: Iterable[float | None]) -> float | None:
    """Mean of the values that are there, None where none is."""
    present = [value for value in values if value is not None]
    return sum(present) / len(present) if present else None
