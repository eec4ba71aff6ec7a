"""Quantities as English words: money, measures, fractions, ranges, plain numbers."""

from __future__ import annotations

import re

from fireredtts2.english import fractions, measures, money
from fireredtts2.english import number_words as words
from fireredtts2.english.number_words import Reading
from fireredtts2.english.rules import DASH, END, NUMBER, SCALES, START, Rule, replacement, rule
from fireredtts2.english.times import MONTHS

_COUNTED = (
    r"(?! (?:people|men|women|children|of|times|[a-z]+[^s\W]s\b(?<!this)(?<!was)(?<!is)(?<!has)))"
)
_YEAR_BEFORE = (
    r"(?i:\b(?:in|since|by|until|till|from|of|before|after|during|circa|around|year|spring|summer|"
    rf"autumn|fall|winter|{'|'.join(MONTHS)}),?)"
)


def _model_number(match: re.Match[str], reading: Reading) -> str:
    """ "A380" is "A three eighty", "AA1234" is "AA twelve thirty-four"."""
    number = int(match["number"])
    head, rest = divmod(number, 100)
    if not rest:
        return " " + words.cardinal(number)
    return f" {words.cardinal(head)} {'oh ' if rest < 10 else ''}{words.cardinal(rest)}"


def _ordinal(match: re.Match[str], reading: Reading) -> str:
    return words.ordinal(int(match["number"].replace(",", "")), reading)


def _year(match: re.Match[str], reading: Reading) -> str:
    return words.year(int(match["year"]), reading)


def _abbreviated(match: re.Match[str], reading: Reading) -> str:
    """ "10K" is ten thousand, but 4K and 8K are pictures."""
    is_picture = match["letter"] == "K" and match["amount"] in ("2", "4", "5", "8")
    is_race = re.match(r" (?:run|race|walk)\b", match.string[match.end() : match.end() + 6])
    scale = "K" if is_picture or is_race else SCALES[match["letter"]]
    return f"{words.decimal(match['amount'], reading)} {scale}"


def _plain(match: re.Match[str], reading: Reading) -> str:
    text = match[0]
    is_code = len(text) > 1 and text.startswith("0") and text[1:2].isdigit()
    is_long = "," not in text and len(text.partition(".")[0]) >= 10
    return words.digits(text) if is_code or is_long else words.decimal(text, reading)


RULES: tuple[Rule, ...] = (
    replacement(r"\b100s\b", "hundreds"),
    replacement(r"\b1,?000s\b", "thousands"),
    *money.RULES,
    *fractions.MIXED_RULES,
    # what belongs to a number and is joined by a dash
    replacement(
        rf"{START}((?:{NUMBER})(?:%|\s?°?[CF]\b)?){DASH}"
        rf"(?=(?:{NUMBER})(?:st|nd|rd|th|s|%|\s?°|\s?[a-zA-Z]{{1,4}}\b)?{END})(?=[^=]{{20}}|[^=]*$)",
        r"\1 to ",
    ),
    replacement(r"(?<=\d)\s?[-−–]\s?(?=\d+\s?=)", " minus "),
    replacement(r"(?<![\w)\]])[-−](?=\.?\d)", "minus "),
    replacement(r"(?<=\d),(?=\d{1,2}(?!\d))", ", "),
    *measures.RULES,
    rule(rf"{START}(?P<amount>\d+\.\d+)(?P<letter>B)\b", _abbreviated),
    rule(
        rf"{START}(?P<amount>{NUMBER})(?P<letter>[kKM]|bn|mn)(?=\+?\s(?!\d)|[.,;:?!+]|$)",
        _abbreviated,
    ),
    rule(rf"{START}(?P<a>{NUMBER}) × (?=\d)", lambda m, r: f"{words.decimal(m['a'], r)} times "),
    rule(
        rf"{START}(?P<a>{NUMBER})\s?[x×]\s?(?=\d)", lambda m, r: f"{words.decimal(m['a'], r)} by "
    ),
    rule(rf"{START}(?P<a>{NUMBER})[x×](?!\w)", lambda m, r: f"{words.decimal(m['a'], r)} times"),
    rule(
        r"\b(?P<year>1080|1440|2160|720)[pi]\b",
        lambda m, _: (
            " ".join(words.cardinal(int(p)) for p in (m["year"][:-2], m["year"][-2:]))
            + " "
            + m[0][-1].upper()
        ),
    ),
    # parts and places
    *fractions.RULES,
    rule(
        r"(?<![\w.])(?P<number>\d{1,3}(?:,\d{3}){1,8}|\d+)(?:st|nd|rd|th|ST|ND|RD|TH)\b", _ordinal
    ),
    replacement(r"(?<=\d):(?=\d)", " to "),
    rule(
        r"(?i:\b(?P<word>call|dial|called|calling|dialed)) (?P<number>911|999|112|411)\b",
        lambda m, _: f"{m['word']} {words.digits(m['number'])}",
    ),
    # plain numbers
    rule(
        rf"(?P<before>{_YEAR_BEFORE} )(?P<year>[12]\d{{3}})\b(?![.,]\d|,\d)",
        lambda m, r: m["before"] + _year(m, r),
    ),
    rule(rf"{START}(?P<year>1[1-9]\d\d|20\d\d)\b(?![.,]\d){_COUNTED}", _year),
    replacement(r"\b401\(?k\)?(?!\w)", "four oh one K"),
    rule(r"(?<=[A-Z])(?P<number>[1-9]\d{2,3})\b(?![.,]\d)", _model_number),
    replacement(r"(?<=[A-Za-z])-?(?=\d)", " "),
    replacement(r"(?<=\d)(?=[A-Za-z])", " "),
    rule(rf"(?<!\d)\.\d+|{NUMBER}", _plain),
)
