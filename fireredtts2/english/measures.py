"""Per cent, degrees, heights and other measures as English words."""

from __future__ import annotations

import re

from fireredtts2.english import number_words as words
from fireredtts2.english.number_words import Reading
from fireredtts2.english.rules import NO_NOUN, NUMBER, START, Rule, replacement, rule
from fireredtts2.english.units import PER_UNITS, UNITS

_UNIT = "|".join(map(re.escape, UNITS))
_QUOTATION_CHARACTERS = 300  # how far back a quotation is looked for


def _percent(match: re.Match[str], reading: Reading) -> str:
    return f"{words.decimal(match['amount'], reading)} percent"


def _degrees(match: re.Match[str], reading: Reading) -> str:
    scale = {"C": " Celsius", "F": " Fahrenheit", "K": " Kelvin", None: ""}[match["scale"]]
    minus = "minus " if match["minus"] else ""
    unit = "degree" if match["amount"] == "1" else "degrees"
    return f"{minus}{words.decimal(match['amount'], reading)} {unit}{scale}"


def _measure(match: re.Match[str], reading: Reading) -> str:
    one, many = UNITS[match["unit"]]
    amount, rest = match["amount"], match.string[match.end() : match.end() + 12]
    before_noun = match["article"] and re.match(rf" (?!{NO_NOUN})[a-z]", rest)
    is_one = amount == "1" or match["joint"] == "-" or before_noun  # "a 5 km run"
    is_end = match["unit"].endswith(".") and re.match(r"\s*$|\s+[A-Z]", rest)
    spoken = f"{words.decimal(amount, reading)} {one if is_one else many}"
    return (match["article"] or "") + spoken + ("." if is_end else "")


def _inches(match: re.Match[str], reading: Reading) -> str:
    """An inch mark, unless it closes a quotation."""
    before = match.string[max(0, match.start() - _QUOTATION_CHARACTERS) : match.start()]
    if before.count('"') % 2:
        return match[0]
    unit = "inches" if match["article"] is None else "inch"
    return f"{words.decimal(match['amount'], reading)} {unit}"


def _height(match: re.Match[str], reading: Reading) -> str:
    inches = f" {words.cardinal(int(match['inches']))}" if match["inches"] else ""
    return f"{words.cardinal(int(match['feet']))} {'foot' if inches else 'feet'}{inches}"


RULES: tuple[Rule, ...] = (
    rule(rf"{START}(?P<amount>{NUMBER})\s?%", _percent),
    rule(
        rf"(?P<minus>(?<![\w)])[-−])?(?<![\d.,])(?P<amount>{NUMBER})\s?°(?:\s?(?P<scale>[CFK])\b)?",
        _degrees,
    ),
    rule(
        r"(?<![\w.,'\"])(?P<feet>\d)['’′]\s?(?P<inches>1[01]|\d)?"
        r"(?:[\"”″]|''|\b(?=\W|$)|(?= tall))",
        _height,
    ),
    rule(
        rf"(?P<article>\b[Aa]n? )?{START}(?P<amount>{NUMBER})(?P<joint>[ -]?)(?P<unit>{_UNIT})"
        r"(?![\w²³/’'])",
        _measure,
    ),
    rule(
        rf"(?P<article>(?<=\b[Aa] )|(?<=\b[Aa]n ))?{START}(?P<amount>{NUMBER})[\"″](?=\s\w)",
        _inches,
    ),
    replacement(r"\bkm/h\b", "kilometers per hour"),
    rule(
        rf"(?<=[a-z\d])\s?/\s?(?P<unit>{'|'.join(PER_UNITS)})\b(?!/)",
        lambda m, _: f" per {PER_UNITS[m['unit']]}",
    ),
)
