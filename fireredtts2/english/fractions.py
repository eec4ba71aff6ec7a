"""Fractions and mixed numbers as English words."""

from __future__ import annotations

import re

from fireredtts2.english import number_words as words
from fireredtts2.english.number_words import Reading
from fireredtts2.english.rules import Rule, rule

#: "3/4" and "5 3/4", not a date or a path.
FRACTION = r"(?<![\d/.,])(?:(?P<whole>\d+)\s+)?(?P<top>\d{1,3})[/⁄](?P<bottom>\d{1,3})(?![\d/])"

_HALF, _QUARTER = 2, 4
_MARKS_OUT_OF = (10, 100)
_MIXED_BOTTOMS = "2|3|4|5|6|8|16|32|64"


def said(match: re.Match[str], reading: Reading, is_one: bool = False) -> str:
    """Words of a match of `FRACTION`.

    Args:
        match: the fraction.
        reading: how to read what can be read in two ways.
        is_one: whether it stands before a noun as one size does: "a three quarter inch pipe".
    """
    top, bottom, whole = int(match["top"]), int(match["bottom"]), match["whole"]
    if (not is_proper(match) and not whole) or not _HALF <= bottom <= 100:
        return f"{words.cardinal(top)} over {words.cardinal(bottom)}"
    part = {_HALF: "half", _QUARTER: "quarter"}.get(bottom, words.ordinal(bottom))
    if top > 1 and not (is_one and bottom == _QUARTER):
        part = "halves" if part == "half" else words.plural(part)
    if not whole:
        return f"{words.cardinal(top)} {part}"
    return f"{words.decimal(whole, reading)} and {'a' if top == 1 else words.cardinal(top)} {part}"


def is_proper(match: re.Match[str]) -> bool:
    return int(match["top"]) < int(match["bottom"])


def _fraction(match: re.Match[str], reading: Reading) -> str:
    top, bottom = int(match["top"]), int(match["bottom"])
    if bottom in _MARKS_OUT_OF and not match["whole"]:
        return f"{words.cardinal(top)} out of {words.cardinal(bottom)}" + (match["dash"] or "")
    return said(match, reading, is_one=bool(match["dash"])) + (" " if match["dash"] else "")


def _mixed(match: re.Match[str], reading: Reading) -> str:
    return match[0].replace("-", " ") if is_proper(match) else match[0]


#: Before a dash between numbers is read as a range.
MIXED_RULES: tuple[Rule, ...] = (
    rule(
        rf"(?<![\w/.,-])\d{{1,3}}-(?P<top>\d{{1,2}})/(?P<bottom>{_MIXED_BOTTOMS})(?![\d/])", _mixed
    ),
)
RULES: tuple[Rule, ...] = (rule(rf"{FRACTION}(?:ths?|rds?)?(?P<dash>-(?=[a-z]))?", _fraction),)
