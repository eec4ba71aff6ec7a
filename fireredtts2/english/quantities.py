"""Money, per cent, measures, fractions, ranges and plain numbers as English words."""

from __future__ import annotations

import re

from fireredtts2.english import number_words as words
from fireredtts2.english.number_words import Reading
from fireredtts2.english.rules import END, NUMBER, START, Rule, replacement, rule
from fireredtts2.english.times import MONTHS
from fireredtts2.english.units import PER_UNITS, UNITS

#: (one, many, one hundredth, many hundredths)
_CURRENCIES = {
    "$": ("dollar", "dollars", "cent", "cents"), "£": ("pound", "pounds", "penny", "pence"),
    "€": ("euro", "euros", "cent", "cents"), "¥": ("yen", "yen", "sen", "sen"),
    "₹": ("rupee", "rupees", "paisa", "paise"), "₩": ("won", "won", "jeon", "jeon"),
    "₽": ("ruble", "rubles", "kopeck", "kopecks"), "₿": ("bitcoin", "bitcoins", "", ""),
}  # fmt: skip
_COUNTRY_DOLLARS = {"US": "US ", "C": "Canadian ", "A": "Australian ", "": ""}
_CURRENCY_CODES = {
    "USD": "US dollars", "EUR": "euros", "GBP": "British pounds", "JPY": "yen",
    "CHF": "Swiss francs", "CAD": "Canadian dollars", "AUD": "Australian dollars",
}  # fmt: skip
_SCALES = {
    "k": "thousand", "K": "thousand", "m": "million", "M": "million", "mn": "million",
    "b": "billion", "B": "billion", "bn": "billion", "tn": "trillion", "T": "trillion",
}  # fmt: skip
_SCALE = (
    r"(?:\s?(?P<scale>hundred|thousand|million|billion|trillion)|(?P<letter>bn|mn|tn|[kKmMbBT]))?\b"
)
_MONEY = rf"(?P<country>\bUS|\bC|\bA|)(?P<sign>[$£€¥₹₩₽₿])\s?(?P<amount>{NUMBER})"
_NO_NOUN = r"(?:for|in|to|a|an|per|each|and|or|on|at|from|of|off|more|less|is|was|by|with|if|as)\b"
_UNIT = "|".join(map(re.escape, UNITS))
_DASH = r"\s?[-–—−]\s?"

_QUOTATION_CHARACTERS = 300  # how far back a quotation is looked for
_HALF, _QUARTER = 2, 4
_MARKS_OUT_OF = (10, 100)
_COUNTED = (
    r"(?! (?:people|men|women|children|of|times|[a-z]+[^s\W]s\b(?<!this)(?<!was)(?<!is)(?<!has)))"
)
_YEAR_BEFORE = (
    r"(?i:\b(?:in|since|by|until|till|from|of|before|after|during|circa|around|year|spring|summer|"
    rf"autumn|fall|winter|{'|'.join(MONTHS)}),?)"
)


def _number(text: str, reading: Reading) -> str:
    return words.decimal(text, reading)


def _scaled(match: re.Match[str]) -> str:
    scale = match["scale"] or _SCALES.get(match["letter"] or "", "")
    return f" {scale}" if scale else ""


def _money(match: re.Match[str], reading: Reading) -> str:
    one, many, cent, cents = _CURRENCIES[match["sign"]]
    country = _COUNTRY_DOLLARS[match["country"]]
    amount, scale = match["amount"].replace(",", ""), _scaled(match)
    whole, _, fraction = amount.partition(".")
    if scale or len(fraction) > 2 or not cent:
        unit = one if amount == "1" and not scale else many
        return f"{_number(amount, reading)}{scale} {country}{unit}"
    hundredths = int(fraction.ljust(2, "0"))
    parts = []
    if int(whole) or not hundredths:
        parts.append(f"{_number(whole, reading)} {country}{one if int(whole) == 1 else many}")
    if hundredths:
        parts.append(f"{words.cardinal(hundredths)} {cent if hundredths == 1 else cents}")
    return " and ".join(parts)


def _money_range(match: re.Match[str], reading: Reading) -> str:
    first, last = _number(match["first"], reading), _number(match["amount"], reading)
    return f"{first} to {last}{_scaled(match)} {_CURRENCIES[match['sign']][1]}"


def _priced(match: re.Match[str], reading: Reading) -> str:
    """ "a $20 bill" is "a twenty dollar bill"."""
    one = _CURRENCIES[match["sign"]][0]
    return f"{_number(match['amount'], reading)}{_scaled(match)} {one}"


def _percent(match: re.Match[str], reading: Reading) -> str:
    return f"{_number(match['amount'], reading)} percent"


def _degrees(match: re.Match[str], reading: Reading) -> str:
    scale = {"C": " Celsius", "F": " Fahrenheit", "K": " Kelvin", None: ""}[match["scale"]]
    minus = "minus " if match["minus"] else ""
    unit = "degree" if match["amount"] == "1" else "degrees"
    return f"{minus}{_number(match['amount'], reading)} {unit}{scale}"


def _measure(match: re.Match[str], reading: Reading) -> str:
    one, many = UNITS[match["unit"]]
    amount, rest = match["amount"], match.string[match.end() : match.end() + 12]
    before_noun = match["article"] and re.match(rf" (?!{_NO_NOUN})[a-z]", rest)
    is_one = amount == "1" or match["joint"] == "-" or before_noun  # "a 5 km run"
    is_end = match["unit"].endswith(".") and re.match(r"\s*$|\s+[A-Z]", rest)
    spoken = f"{_number(amount, reading)} {one if is_one else many}"
    return (match["article"] or "") + spoken + ("." if is_end else "")


def _inches(match: re.Match[str], reading: Reading) -> str:
    """An inch mark, unless it closes a quotation."""
    before = match.string[max(0, match.start() - _QUOTATION_CHARACTERS) : match.start()]
    if before.count('"') % 2:
        return match[0]
    return f"{_number(match['amount'], reading)} {'inches' if match['article'] is None else 'inch'}"


def _model_number(match: re.Match[str], reading: Reading) -> str:
    """ "A380" is "A three eighty", "AA1234" is "AA twelve thirty-four"."""
    number = int(match["number"])
    head, rest = divmod(number, 100)
    if not rest:
        return " " + words.cardinal(number)
    return f" {words.cardinal(head)} {'oh ' if rest < 10 else ''}{words.cardinal(rest)}"


def _height(match: re.Match[str], reading: Reading) -> str:
    inches = f" {words.cardinal(int(match['inches']))}" if match["inches"] else ""
    return f"{words.cardinal(int(match['feet']))} {'foot' if inches else 'feet'}{inches}"


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
    return f"{_number(whole, reading)} and {count} {part if top == 1 else _many(part)}"


def _many(part: str) -> str:
    return "halves" if part == "half" else words.plural(part)


def _ordinal(match: re.Match[str], reading: Reading) -> str:
    return words.ordinal(int(match["number"].replace(",", "")), reading)


def _year(match: re.Match[str], reading: Reading) -> str:
    return words.year(int(match["year"]), reading)


def _abbreviated(match: re.Match[str], reading: Reading) -> str:
    """ "10K" is ten thousand, but 4K and 8K are pictures."""
    is_picture = match["letter"] == "K" and match["amount"] in ("2", "4", "5", "8")
    is_race = re.match(r" (?:run|race|walk)\b", match.string[match.end() : match.end() + 6])
    scale = "K" if is_picture or is_race else _SCALES[match["letter"]]
    return f"{_number(match['amount'], reading)} {scale}"


def _plain(match: re.Match[str], reading: Reading) -> str:
    text = match[0]
    is_code = len(text) > 1 and text.startswith("0") and text[1:2].isdigit()
    is_long = "," not in text and len(text.partition(".")[0]) >= 10
    return words.digits(text) if is_code or is_long else _number(text, reading)


RULES: tuple[Rule, ...] = (
    replacement(r"\b100s\b", "hundreds"),
    replacement(r"\b1,?000s\b", "thousands"),
    # money
    replacement(r"(?<=\d)-(an?)-(?=[a-z])", r" \1 "),
    replacement(r"\bRs\.? ?(?=\d)", "₹"),
    rule(rf"(?P<sign>[$£€])(?P<first>{NUMBER}){_DASH}(?P<amount>{NUMBER}){_SCALE}", _money_range),
    rule(rf"(?<=\b[Aa] ){_MONEY}{_SCALE}(?=[ -][a-z])(?! {_NO_NOUN})", _priced),
    replacement(r"(?<![\w)])[-−](?=[$£€]\d)", "minus "),
    replacement(rf"([$£€](?:{NUMBER})[kKmMbB]?){_DASH}(?=[$£€]\d)", r"\1 to "),
    rule(rf"{_MONEY}{_SCALE}", _money),
    rule(
        rf"{START}(?P<amount>{NUMBER})\s?¢",
        lambda m, r: f"{_number(m['amount'], r)} cent{'' if m['amount'] == '1' else 's'}",
    ),
    rule(
        rf"{START}(?P<amount>{NUMBER})\s?(?P<code>{'|'.join(_CURRENCY_CODES)})\b",
        lambda m, r: f"{_number(m['amount'], r)} {_CURRENCY_CODES[m['code']]}",
    ),
    # what belongs to a number and is joined by a dash
    replacement(
        rf"{START}((?:{NUMBER})(?:%|\s?°?[CF]\b)?){_DASH}"
        rf"(?=(?:{NUMBER})(?:st|nd|rd|th|s|%|\s?°|\s?[a-zA-Z]{{1,4}}\b)?{END})(?=[^=]{{20}}|[^=]*$)",
        r"\1 to ",
    ),
    replacement(r"(?<=\d)\s?[-−–]\s?(?=\d+\s?=)", " minus "),
    replacement(r"(?<![\w)\]])[-−](?=\.?\d)", "minus "),
    replacement(r"(?<=\d),(?=\d{1,2}(?!\d))", ", "),
    # measures
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
    rule(rf"{START}(?P<amount>\d+\.\d+)(?P<letter>B)\b", _abbreviated),
    rule(
        rf"{START}(?P<amount>{NUMBER})(?P<letter>[kKM]|bn|mn)(?=\+?\s(?!\d)|[.,;:?!+]|$)",
        _abbreviated,
    ),
    rule(rf"{START}(?P<a>{NUMBER}) × (?=\d)", lambda m, r: f"{_number(m['a'], r)} times "),
    rule(rf"{START}(?P<a>{NUMBER})\s?[x×]\s?(?=\d)", lambda m, r: f"{_number(m['a'], r)} by "),
    rule(rf"{START}(?P<a>{NUMBER})[x×](?!\w)", lambda m, r: f"{_number(m['a'], r)} times"),
    rule(
        r"\b(?P<year>1080|1440|2160|720)[pi]\b",
        lambda m, _: (
            " ".join(words.cardinal(int(p)) for p in (m["year"][:-2], m["year"][-2:]))
            + " "
            + m[0][-1].upper()
        ),
    ),
    # parts and places
    rule(
        r"(?<![\d/.,])(?:(?P<whole>\d+)\s+)?(?P<top>\d{1,3})[/⁄](?P<bottom>\d{1,3})"
        r"(?![\d/])(?:ths?|rds?)?",
        _fraction,
    ),
    rule(r"(?<![\w.])(?P<number>\d{1,3}(?:,\d{3}){1,8}|\d+)(?:st|nd|rd|th)\b", _ordinal),
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
