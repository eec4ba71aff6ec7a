"""What went wrong in the words: which were left out, added, said again; from jiwer's alignment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fireredtts2.evaluation.extras import load_extra


@dataclass(frozen=True)
class Alignment:
    """Kinds of word errors of one text.

    Attributes:
        substituted: Words heard as others.
        omitted: Words that were not heard.
        inserted: Words heard that the text does not have.
        repeated: Those inserted words that say their neighbours again ("the the", "I want I want").
        longest_omission: Most words left out in a row.
    """

    substituted: int
    omitted: int
    inserted: int
    repeated: int
    longest_omission: int


def align(reference: str, heard: str) -> Alignment:
    """Aligns two texts, both split at white space.

    Raises:
        ValueError: The reference has no word.
        MissingPackageError: jiwer is not installed.
    """
    words, spoken = reference.split(), heard.split()
    if not words:
        raise ValueError(f"the reference text has no word: {reference!r}")
    output = load_extra("jiwer").process_words(" ".join(words), " ".join(spoken))
    chunks = output.alignments[0]
    omissions = [c.ref_end_idx - c.ref_start_idx for c in chunks if c.type == "delete"]
    insertions = [(c.hyp_start_idx, c.hyp_end_idx) for c in chunks if c.type == "insert"]
    return Alignment(
        substituted=output.substitutions,
        omitted=output.deletions,
        inserted=output.insertions,
        repeated=sum(_repeats(spoken, start, end) for start, end in insertions),
        longest_omission=max(omissions, default=0),
    )


def _repeats(spoken: Sequence[str], start: int, end: int) -> int:
    """How many words of the inserted run spoken[start:end] repeat a neighbour.

    A run of n words repeats what stands at most n words before or after each of its words.
    """
    reach = end - start
    return sum(
        spoken[i] in (*spoken[max(0, i - reach) : i], *spoken[i + 1 : i + reach + 1])
        for i in range(start, end)
    )
