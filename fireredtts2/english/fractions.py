"""Fractions as English words."""

from __future__ import annotations

import re

from fireredtts2.english import number_words as words
from fireredtts2.english.number_words import Reading
from fireredtts2.english.rules import Rule, rule

_HALF, _QUARTER = 2, 4
_MARKS_OUT_OF = (10, 100)


def _fraction(match: re.Match[str], reading: Reading) -> str:
    top, bottom = int(match["top"]), int(match["bottom"])
    whole = match["whole"]
    if bottom in _MARKS_OUT_OF and not whole:
        return f"{words.cardinal(top)} out of {words.cardinal(bottom)}"
    if bottom < _HALF or (top >= bottom and not whole) or bottom > 100:
        return f"{words.cardinal(top)} over {words.cardinal(bottom)}"
    part = {_HALF: "half", _QUARTER: "quarter"}.get(bottom, words.ordinal(bottom))
    if not whole:
        return f"{words.cardinal(top)} {part if top == 1 else _many(part)}"
    count = "a" if top == 1 else words.cardinal(top)
    return f"{words.decimal(whole, reading)} and {count} {part if top == 1 else _many(part)}"


def _many(part: str) -> str:
    return "halves" if part == "half" else words.plural(part)


RULES: tuple[Rule, ...] = (
    rule(
        r"(?<![\d/.,])(?:(?P<whole>\d+)\s+)?(?P<top>\d{1,3})[/⁄](?P<bottom>\d{1,3})"
        r"(?![\d/])(?:ths?|rds?)?",
        _fraction,
    ),
)
