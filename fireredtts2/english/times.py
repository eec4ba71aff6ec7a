"""Dates, times of day and decades as English words."""

from __future__ import annotations

import re

from fireredtts2.english import number_words as words
from fireredtts2.english.number_words import Reading
from fireredtts2.english.rules import Rule, replacement, rule

MONTHS = (
    "January", "February", "March", "April", "May", "June", "July", "August", "September",
    "October", "November", "December",
)  # fmt: skip
_MONTH = (
    r"(?P<month>(?:Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec)\b\.?|" + "|".join(MONTHS) + ")"
)
_DAY = r"(?P<day>[0-3]?\d)(?:st|nd|rd|th)?"
_YEAR = r"(?:(?P<comma>,?) (?P<year>[12]\d{3})(?![\d,:/]|\.\d|-\d))?"
_HALF = r"(?P<half>[aApP])(?:\.\s?[mM]\.|[mM]\b\.?(?=\s[a-z,]|[,;:])|[mM]\b)"
#: What may follow "p.m." in the same sentence with a capital letter.
_GOES_ON = re.compile(
    r"(?:[ECMP][SD]?T|GMT|UTC|BST|CET)\b|(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun|Jan|Feb|Mar|Apr|Jun|Jul|Aug|"
    r"Sep|Oct|Nov|Dec)"
)
_CLOCK = r"(?P<hour>[01]?\d|2[0-4]):(?P<minute>[0-5]\d)(?::(?P<second>[0-5]\d))?"
_HALF_DAY_CLOCK = _CLOCK.replace(":(?P<minute>", "[:.](?P<minute>")
DOTTED_DATE = r"(?P<day>\d{1,2})\.(?P<month>\d{1,2})\.(?P<year>[12]\d{3})(?![\d.])"
_BIBLE_BOOKS = (
    "Genesis|Exodus|Leviticus|Deuteronomy|Joshua|Judges|Ruth|Samuel|Kings|Chronicles|Job|Psalms?|"
    "Proverbs|Ecclesiastes|Isaiah|Jeremiah|Ezekiel|Daniel|Hosea|Joel|Amos|Jonah|Micah|Matthew|Mark|"
    "Luke|John|Acts|Romans|Corinthians|Galatians|Ephesians|Philippians|Colossians|Thessalonians|"
    "Timothy|Titus|Hebrews|James|Peter|Jude|Revelation"
)


def _month_name(text: str) -> str:
    return next(name for name in MONTHS if name.startswith(text[:3]))


def _day(number: int, reading: Reading) -> str:
    return words.ordinal(number) if reading.ordinal_days else words.cardinal(number)


def _numeric_date(match: re.Match[str], reading: Reading) -> str:
    year, month, day = (int(match[name]) for name in ("year", "month", "day"))
    if month > 12:
        month, day = day, month
    if not (1 <= month <= 12 and 1 <= day <= 31):
        return match[0]
    if len(match["year"]) == 2:
        year += 2000 if year < 70 else 1900
    return f"{MONTHS[month - 1]} {_day(day, reading)}, {words.year(year, reading)}"


def _month_day(match: re.Match[str], reading: Reading) -> str:
    if not 1 <= int(match["day"]) <= 31:
        return match[0]
    spoken = f"{_month_name(match['month'])} {_day(int(match['day']), reading)}"
    if match["last"]:
        spoken += f" to {_day(int(match['last']), reading)}"
    return spoken + _of_year(match, reading)


def _day_month(match: re.Match[str], reading: Reading) -> str:
    if not 1 <= int(match["day"]) <= 31:
        return match[0]
    day = words.ordinal(int(match["day"]))
    return f"{match['the'] or 'the '}{day} of {_month_name(match['month'])}" + _of_year(
        match, reading
    )


def _of_year(match: re.Match[str], reading: Reading) -> str:
    return f"{match['comma']} {words.year(int(match['year']), reading)}" if match["year"] else ""


def _time(match: re.Match[str], reading: Reading) -> str:
    hour, minute = int(match["hour"]), int(match["minute"])
    if match[0] == "00:00":
        return "midnight"
    half = match.groupdict().get("half")
    parts = [words.cardinal(hour), _minutes(minute, hour, is_half_named=bool(half))]
    if match["second"]:
        parts = [words.cardinal(hour), _two_digits(minute), _two_digits(int(match["second"]))]
    return " ".join(part for part in parts if part) + _half(match)


def _hour(match: re.Match[str], reading: Reading) -> str:
    return words.cardinal(int(match["hour"])) + _half(match)


def _minutes(minute: int, hour: int, is_half_named: bool) -> str:
    if minute:
        return _two_digits(minute)
    if is_half_named:
        return ""
    return "o'clock" if 1 <= hour <= 12 else "hundred"


def _two_digits(number: int) -> str:
    return ("oh " if number < 10 else "") + words.cardinal(number)


def _half(match: re.Match[str]) -> str:
    """ "AM" or "PM", with the dot if it ended the sentence too."""
    if not match.groupdict().get("half"):
        return ""
    rest = match.string[match.end() : match.end() + 6].lstrip(" ")
    is_end = match[0].endswith(".") and (not rest.strip() or rest[0].isupper())
    is_end = is_end and not _GOES_ON.match(rest)
    return f" {match['half'].upper()}M" + ("." if is_end else "")


def _decade(match: re.Match[str], reading: Reading) -> str:
    century, tens = match["century"] or "", int(match["tens"])
    if tens:
        decade = words.plural(words.cardinal(tens))
        return f"{words.cardinal(int(century))} {decade}" if century else decade
    if not century:
        return "two thousands"
    return words.plural(words.year(int(century) * 100, reading))


def _time_stamp(match: re.Match[str], reading: Reading) -> str:
    return f"{match['date']} at {match['clock']}" + (" UTC" if match["zero"] else "")


def _stopwatch(match: re.Match[str], reading: Reading) -> str:
    minute, second = int(match["minute"]), int(match["second"])
    parts = words.cardinal(minute), _two_digits(second), "point", words.digits(match["part"])
    return " ".join(parts)


def _duration(match: re.Match[str], reading: Reading) -> str:
    """ "5h 30m" is hours and minutes, though "30m" alone is a length."""
    amounts = {name: match[name] for name in ("hour", "minute", "second") if match[name]}
    if len(amounts) < 2:
        return match[0]
    return " ".join(
        f"{words.cardinal(int(amount))} {name}{'' if amount == '1' else 's'}"
        for name, amount in amounts.items()
    )


def _verses(match: re.Match[str], reading: Reading) -> str:
    chapter, verse = words.cardinal(int(match["chapter"])), words.cardinal(int(match["verse"]))
    last = f" to {words.cardinal(int(match['last']))}" if match["last"] else ""
    return f"{match['book']} {chapter} {verse}{last}"


RULES: tuple[Rule, ...] = (
    rule(
        r"\b(?P<date>[12]\d{3}-\d\d-\d\d)T(?P<clock>\d\d:\d\d(?::(?!00)\d\d)?)"
        r"(?::00)?(?:\.\d+)?(?P<zero>Z)?(?!\w)",
        _time_stamp,
    ),
    rule(
        r"(?<![\w/-])(?P<year>[12]\d{3})(?P<joint>[-/])(?P<month>\d{1,2})(?P=joint)(?P<day>\d{1,2})"
        r"(?![\d/])",
        _numeric_date,
    ),
    rule(
        r"(?<![\d/])(?P<month>\d{1,2})/(?P<day>\d{1,2})/(?P<year>\d{4}|\d\d)(?![\d/])",
        _numeric_date,
    ),
    rule(
        r"(?<![\w.,-])(?P<month>\d{1,2})-(?P<day>\d{1,2})-(?P<year>[12]\d{3})(?![\w-])",
        _numeric_date,
    ),
    rule(rf"(?<![\d.]){DOTTED_DATE}", _numeric_date),
    rule(
        rf"\b(?P<book>{_BIBLE_BOOKS}) (?P<chapter>\d{{1,3}}):(?P<verse>[1-9]\d{{0,2}})"
        r"(?:[-–](?P<last>\d{1,3}))?(?![\d:]| ?[ap]\.?m\b| ?[AP]\.?M\b)",
        _verses,
    ),
    rule(
        r"(?<![\w.,])(?:(?P<hour>\d{1,3})\s?h(?:rs?)?\s?)?(?P<minute>\d{1,3})\s?m(?:ins?)?"
        r"(?:\s?(?P<second>\d{1,2})\s?s(?:ecs?)?)?(?!\w)",
        _duration,
    ),
    replacement(r"(?<![\w.,])(\d{1,2})h([0-5]\d)(?!\w)", r"\1:\2"),
    rule(
        r"(?<![\w:.,])(?P<minute>\d{1,2}):(?P<second>[0-5]\d)\.(?P<part>\d{1,3})(?!\w)",
        _stopwatch,
    ),
    replacement(r"(?<=[\dmM.])\s?[-–]\s?(?=\d{1,2}(?:[:.]\d\d)?\s?[ap]\.?m\b)", " to "),
    replacement(r"(?<=:\d\d)\s?[-–]\s?(?=\d{1,2}:\d\d)", " to "),
    rule(
        rf"\b{_MONTH} {_DAY}(?:\s?[-–]\s?(?P<last>[0-3]?\d))?{_YEAR}"
        r"(?![\d:%]|[.,/-]\d| ?[ap]\.?m\b)",
        _month_day,
    ),
    rule(
        rf"(?P<the>\b[Tt]he )?(?<![\d.,:$£€/-]){_DAY} (?:of )?{_MONTH}{_YEAR}(?! ?\d)\b", _day_month
    ),
    rule(rf"(?<![\d:.,$£€]){_HALF_DAY_CLOCK}\s?{_HALF}", _time),
    rule(rf"(?<![\d:.,]){_CLOCK}(?![\d:])", _time),
    rule(rf"(?<![\d:.,$£€])(?P<hour>1[0-2]|0?[1-9])\s?{_HALF}", _hour),
    rule(r"(?<![\w.,$£€])['’]?(?P<century>1[0-9]|20)?(?P<tens>\d0)['’]?s\b", _decade),
    replacement(r"\b0s and 1s\b", "zeros and ones"),
    replacement(r"(?<![\d/])9/11(?![\d/])", "nine eleven"),
    replacement(r"(?<![\d/])24/7(?![\d/])", "twenty-four seven"),
    rule(
        r"(?<![\d/])(?P<same>50|20)/(?P=same)(?![\d/])",
        lambda match, _: " ".join([words.cardinal(int(match["same"]))] * 2),
    ),
)
