"""Two texts side by side, with the words marked in which they differ."""

from __future__ import annotations

import difflib
import re

Word = tuple[str, bool]  # the word as written, and whether the other text has it too
SOUNDLESS = re.compile(r"[^\w']+")


def marked_words(meant: str, heard: str) -> tuple[list[Word], list[Word]]:
    """The words of both texts, each with whether it has a partner in the other.

    Case and punctuation do not count. This is for the eye only; rates come from normalised texts.
    """
    a, b = meant.split(), heard.split()
    matcher = difflib.SequenceMatcher(None, _bare(a), _bare(b), autojunk=False)
    in_a: set[int] = set()
    in_b: set[int] = set()
    for block in matcher.get_matching_blocks():
        in_a.update(range(block.a, block.a + block.size))
        in_b.update(range(block.b, block.b + block.size))
    return (
        [(word, place in in_a) for place, word in enumerate(a)],
        [(word, place in in_b) for place, word in enumerate(b)],
    )


def _bare(words: list[str]) -> list[str]:
    return [SOUNDLESS.sub("", word).casefold() for word in words]
