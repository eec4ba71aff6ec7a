"""Money as English words."""

from __future__ import annotations

import re

from fireredtts2.english import number_words as words
from fireredtts2.english.number_words import Reading
from fireredtts2.english.rules import DASH, NO_NOUN, NUMBER, SCALES, START, Rule, replacement, rule

#: (one, many, one hundredth, many hundredths)
_CURRENCIES = {
    "$": ("dollar", "dollars", "cent", "cents"), "£": ("pound", "pounds", "penny", "pence"),
    "€": ("euro", "euros", "cent", "cents"), "¥": ("yen", "yen", "sen", "sen"),
    "₹": ("rupee", "rupees", "paisa", "paise"), "₩": ("won", "won", "jeon", "jeon"),
    "₽": ("ruble", "rubles", "kopeck", "kopecks"), "₿": ("bitcoin", "bitcoins", "", ""),
}  # fmt: skip
_COUNTRY_DOLLARS = {
    "US": "US ", "C": "Canadian ", "CA": "Canadian ", "A": "Australian ", "AU": "Australian ",
    "HK": "Hong Kong ", "NZ": "New Zealand ", "S": "Singapore ", "": "",
}  # fmt: skip
_CURRENCY_CODES = {
    "USD": "US dollars", "EUR": "euros", "GBP": "British pounds", "JPY": "yen",
    "CHF": "Swiss francs", "CAD": "Canadian dollars", "AUD": "Australian dollars",
}  # fmt: skip
_SCALE_WORDS = "hundred|thousand|million|billion|trillion"
_SCALE_LETTERS = "bn|mn|tn|[kKmMbBT]"
_SCALE = rf"(?:[ -]?(?P<scale>{_SCALE_WORDS})|(?P<letter>{_SCALE_LETTERS}))?\b"
_AMOUNT = rf"(?:{NUMBER})(?:[ -]?(?:{_SCALE_WORDS})|{_SCALE_LETTERS})?"
_SIGNS = "".join(_CURRENCIES)
_COUNTRY = "|".join(rf"\b{code}" if code else "" for code in _COUNTRY_DOLLARS)
_MONEY = rf"(?P<country>{_COUNTRY})(?P<sign>[{_SIGNS}])\s?(?P<amount>{NUMBER})"


def _scaled(match: re.Match[str]) -> str:
    scale = match["scale"] or SCALES.get(match["letter"] or "", "")
    return f" {scale}" if scale else ""


def _money(match: re.Match[str], reading: Reading) -> str:
    one, many, cent, cents = _CURRENCIES[match["sign"]]
    country = _COUNTRY_DOLLARS[match["country"]]
    amount, scale = match["amount"].replace(",", ""), _scaled(match)
    whole, _, fraction = amount.partition(".")
    if scale or len(fraction) > 2 or not cent:
        unit = one if amount == "1" and not scale else many
        return f"{words.decimal(amount, reading)}{scale} {country}{unit}"
    hundredths = int(fraction.ljust(2, "0"))
    parts = []
    if int(whole) or not hundredths:
        parts.append(f"{words.decimal(whole, reading)} {country}{one if int(whole) == 1 else many}")
    if hundredths:
        parts.append(f"{words.cardinal(hundredths)} {cent if hundredths == 1 else cents}")
    return " and ".join(parts)


def _money_range(match: re.Match[str], reading: Reading) -> str:
    first, last = words.decimal(match["first"], reading), words.decimal(match["amount"], reading)
    return f"{first} to {last}{_scaled(match)} {_CURRENCIES[match['sign']][1]}"


def _priced(match: re.Match[str], reading: Reading) -> str:
    """ "a $20 bill" is "a twenty dollar bill"."""
    one = _CURRENCIES[match["sign"]][0]
    return f"{words.decimal(match['amount'], reading)}{_scaled(match)} {one}"


RULES: tuple[Rule, ...] = (
    replacement(r"(?<=\d)-(an?)-(?=[a-z])", r" \1 "),
    replacement(r"\bRs\.? ?(?=\d)", "₹"),
    # signs in an unusual place: "5 €", "$.50", "$-5", "$5 million dollars"
    replacement(r"(?<=\d),(?=\d\d\s?€)", "."),
    replacement(
        rf"(?<![\w.,{_SIGNS}])((?:(?:{NUMBER}){DASH})?{_AMOUNT})\s?([{_SIGNS}])(?![\w{_SIGNS}]|\s?\d)",
        r"\2\1",
    ),
    replacement(
        rf"\$(?={_AMOUNT} dollars?\b)|£(?={_AMOUNT} pounds?\b)|€(?={_AMOUNT} euros?\b)", ""
    ),
    replacement(rf"(?<=[{_SIGNS}])\.(?=\d)", "0."),
    replacement(rf"([{_SIGNS}])[-−](?=\d)", r"-\1"),
    rule(rf"(?P<sign>[$£€])(?P<first>{NUMBER}){DASH}(?P<amount>{NUMBER}){_SCALE}", _money_range),
    rule(rf"(?<=\b[Aa] ){_MONEY}{_SCALE}(?=[ -][a-z])(?! {NO_NOUN})", _priced),
    replacement(r"(?<![\w)])[-−](?=[$£€]\d)", "minus "),
    replacement(rf"([$£€](?:{NUMBER})[kKmMbB]?){DASH}(?=[$£€]\d)", r"\1 to "),
    replacement(r"(?<=[A-Za-z])(?<!\b[ACS])(?<!\b(?:US|CA|AU|HK|NZ))(?=[$£€]\d)", " "),
    rule(rf"{_MONEY}{_SCALE}", _money),
    rule(
        rf"{START}(?P<amount>{NUMBER})\s?¢",
        lambda m, r: f"{words.decimal(m['amount'], r)} cent{'' if m['amount'] == '1' else 's'}",
    ),
    rule(
        rf"{START}(?P<amount>{NUMBER})\s?(?P<code>{'|'.join(_CURRENCY_CODES)})\b",
        lambda m, r: f"{words.decimal(m['amount'], r)} {_CURRENCY_CODES[m['code']]}",
    ),
)
