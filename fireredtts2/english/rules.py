"""A rule of reading: a pattern and what is said in its place."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from fireredtts2.english.number_words import Reading

#: A number as people type it: "1,250.50", "12", ".5" only where a rule allows it.
NUMBER = r"\d{1,3}(?:,\d{3}){1,8}(?:\.\d+)?(?!\d)|\d+(?:\.\d+)?"

#: Where a word or a number begins and ends; a decimal point does not end one.
START = r"(?<![\w.,])"
END = r"(?![\w]|[.,]\d)"

DASH = r"\s?[-–—−]\s?"

#: What a number stands before where no noun follows it: "a $20 for him".
NO_NOUN = r"(?:for|in|to|a|an|per|each|and|or|on|at|from|of|off|more|less|is|was|by|with|if|as)\b"

SCALES = {
    "k": "thousand", "K": "thousand", "m": "million", "M": "million", "mn": "million",
    "b": "billion", "B": "billion", "bn": "billion", "tn": "trillion", "T": "trillion",
}  # fmt: skip


@dataclass(frozen=True)
class Rule:
    """`say` gets the match and the reading; what it returns is read by the later rules."""

    pattern: re.Pattern[str]
    say: Callable[[re.Match[str], Reading], str]


def rule(pattern: str, say: Callable[[re.Match[str], Reading], str], flags: int = 0) -> Rule:
    return Rule(re.compile(pattern, flags), say)


def replacement(pattern: str, words: str, flags: int = 0) -> Rule:
    """A rule that always says the same words (or groups of the pattern, as "\\1")."""
    return Rule(re.compile(pattern, flags), lambda match, _: match.expand(words))


def apply(rules: Iterable[Rule], text: str, reading: Reading) -> str:
    """Applies each rule once, in order."""
    for each in rules:
        say = each.say
        text = each.pattern.sub(lambda match, say=say: say(match, reading), text)  # type: ignore[misc]
    return text
