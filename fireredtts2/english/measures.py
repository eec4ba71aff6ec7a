"""Per cent, degrees, heights and other measures as English words."""

from __future__ import annotations

import re

from fireredtts2.english import fractions
from fireredtts2.english import number_words as words
from fireredtts2.english.number_words import Reading
from fireredtts2.english.rules import NO_NOUN, NUMBER, START, Rule, replacement, rule
from fireredtts2.english.units import PER_UNITS, RATE_UNITS, UNITS

_SIGNS = "|".join(map(re.escape, UNITS))
_UNIT_SIGN = rf"(?P<unit>{_SIGNS})(?![\w²³/’'])"
_RATES = "|".join(sorted(map(re.escape, RATE_UNITS), key=len, reverse=True))
_QUOTATION_CHARACTERS = 300  # how far back a quotation is looked for
#: Of these an "m" is a million, not a meter.
_COUNTED = (
    "views|people|followers|users|subscribers|downloads|likes|copies|dollars|euros|pounds|jobs|"
    "customers|members|players|listeners|viewers|visitors|plays|streams|tons|tonnes|years|voters"
)
#: Things that are named with their size: "5lb bags".
_SIZED = re.compile(
    r" (?:bag|box|bottle|can|jar|pack|packet|sack|tank|bar|run|race|walk|hike|ride|swim|screen|"
    r"monitor|display|lens|camera|battery|bulb|pipe|rope|ladder|wall|fence|pole|cable|drive)(?:e?s)?\b"
)
_NEXT_WORD_CHARACTERS = 12
_VOWEL_SOUNDS = ("inch", "ounce", "hour", "acre")


def _percent(match: re.Match[str], reading: Reading) -> str:
    return f"{words.decimal(match['amount'], reading)} percent"


def _degrees(match: re.Match[str], reading: Reading) -> str:
    scale = {"C": " Celsius", "F": " Fahrenheit", "K": " Kelvin", None: ""}[match["scale"]]
    minus = "minus " if match["minus"] else ""
    unit = "degree" if match["amount"] == "1" else "degrees"
    return f"{minus}{words.decimal(match['amount'], reading)} {unit}{scale}"


def _measure(match: re.Match[str], reading: Reading) -> str:
    one, many = UNITS[match["unit"]]
    amount = match["amount"]
    is_one = amount == "1" or _is_before_noun(match)
    spoken = f"{words.decimal(amount, reading)} {one if is_one else many}"
    return (match["article"] or "") + spoken + _final_dot(match)


def _rate(match: re.Match[str], reading: Reading) -> str:
    one, many = UNITS[match["unit"]]
    unit = one if match["amount"] == "1" else many
    return f"{words.decimal(match['amount'], reading)} {unit} per {RATE_UNITS[match['per']]}"


def _part_measure(match: re.Match[str], reading: Reading) -> str:
    """ "1/2 lb" is "one half pound", "3/4 mi" is "three quarters of a mile"."""
    one, many = UNITS[match["unit"]]
    is_one = _is_before_noun(match)
    spoken = fractions.said(match, reading, is_one)
    if not match["whole"] and fractions.is_proper(match) and match["top"] != "1" and not is_one:
        spoken += " of an" if one.startswith(_VOWEL_SOUNDS) else " of a"
    is_many = not is_one and (match["whole"] or not fractions.is_proper(match))
    return (match["article"] or "") + f"{spoken} {many if is_many else one}" + _final_dot(match)


def _is_before_noun(match: re.Match[str]) -> bool:
    """Whether a measure is the size of something: "a 5 km run", "10-inch"."""
    rest = match.string[match.end() : match.end() + _NEXT_WORD_CHARACTERS]
    is_attribute = match["article"] and re.match(rf" (?!{NO_NOUN})[a-z]", rest)
    return match["joint"] == "-" or bool(is_attribute or _SIZED.match(rest))


def _final_dot(match: re.Match[str]) -> str:
    """The dot of "ft.", if it ends the sentence as well."""
    rest = match.string[match.end() : match.end() + _NEXT_WORD_CHARACTERS]
    is_end = match["unit"].endswith(".") and re.match(r"\s*$|\s+[A-Z]", rest)
    return "." if is_end else ""


def _inches(match: re.Match[str], reading: Reading) -> str:
    unit = "inches" if match["article"] is None else "inch"
    return _unless_quoted(match, f"{words.decimal(match['amount'], reading)} {unit}")


def _part_inches(match: re.Match[str], reading: Reading) -> str:
    unit = "inches" if match["whole"] else "inch"
    return _unless_quoted(match, f"{fractions.said(match, reading)} {unit}")


def _unless_quoted(match: re.Match[str], spoken: str) -> str:
    """An inch mark may be one that closes a quotation."""
    before = match.string[max(0, match.start() - _QUOTATION_CHARACTERS) : match.start()]
    return match[0] if before.count('"') % 2 else spoken


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
    replacement(rf"{START}({NUMBER})m(?= (?:{_COUNTED})\b)", r"\1 million"),
    rule(
        rf"{START}(?P<amount>{NUMBER})[ -]?(?P<unit>{_SIGNS})/(?P<per>{_RATES})(?![\w²³/])",
        _rate,
    ),
    rule(
        rf"(?P<article>\b[Aa]n? )?{fractions.FRACTION}(?P<joint>[ -]?){_UNIT_SIGN}", _part_measure
    ),
    rule(rf"{fractions.FRACTION}[\"″](?=\s|[.,;:!?)]|$)", _part_inches),
    rule(
        rf"(?P<article>\b[Aa]n? )?{START}(?P<amount>{NUMBER})(?P<joint>[ -]?){_UNIT_SIGN}",
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
