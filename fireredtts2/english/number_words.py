"""Numbers as English words."""

from __future__ import annotations

from dataclasses import dataclass

_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen"
)
_TENS = "- - twenty thirty forty fifty sixty seventy eighty ninety"
_SCALES = "- thousand million billion trillion quadrillion quintillion sextillion septillion"
ONES, TENS, SCALES = tuple(_ONES.split()), tuple(_TENS.split()), tuple(_SCALES.split())
MAX_CARDINAL_DIGITS = 3 * len(SCALES)

_IRREGULAR_ORDINALS = {
    "one": "first", "two": "second", "three": "third", "five": "fifth", "eight": "eighth",
    "nine": "ninth", "twelve": "twelfth",
}  # fmt: skip


@dataclass(frozen=True)
class Reading:
    """How a speaker reads what can be read in two ways.

    `hundred_and`: "one hundred and five", as the British do, rather than "one hundred five".
    `ordinal_days`: "March 20" is "March twentieth" rather than "March twenty".
    """

    hundred_and: bool = False
    ordinal_days: bool = True


AMERICAN = Reading()


def cardinal(number: int, reading: Reading = AMERICAN) -> str:
    """ "1205" is "one thousand two hundred five"; beyond the scales it is read digit by digit."""
    if number < 0:
        return "minus " + cardinal(-number, reading)
    if len(str(number)) > MAX_CARDINAL_DIGITS:
        return digits(str(number))
    if number < 20:
        return ONES[number]
    if number < 100:
        tens, ones = divmod(number, 10)
        return TENS[tens] + (f"-{ONES[ones]}" if ones else "")
    scale = 100 if number < 1000 else 1000 ** ((len(str(number)) - 1) // 3)
    head, rest = divmod(number, scale)
    name = "hundred" if scale == 100 else SCALES[(len(str(scale)) - 1) // 3]
    spoken = f"{cardinal(head, reading)} {name}"
    if not rest:
        return spoken
    joint = " and " if reading.hundred_and and rest < 100 else " "
    return spoken + joint + cardinal(rest, reading)


def ordinal(number: int, reading: Reading = AMERICAN) -> str:
    """ "21" is "twenty-first"."""
    words = cardinal(number, reading)
    cut = max(words.rfind(" "), words.rfind("-")) + 1
    last = words[cut:]
    if last in _IRREGULAR_ORDINALS:
        return words[:cut] + _IRREGULAR_ORDINALS[last]
    return words[:cut] + (last[:-1] + "ieth" if last.endswith("y") else last + "th")


def year(number: int, reading: Reading = AMERICAN) -> str:
    """ "1984" is "nineteen eighty-four", "2003" is "two thousand three"."""
    century, rest = divmod(number, 100)
    if not 1000 < number < 10_000 or 2000 <= number < 2010 or (rest == 0 and century % 10 == 0):
        return cardinal(number, reading)
    if rest == 0:
        return f"{cardinal(century)} hundred"
    return f"{cardinal(century)} {'oh ' if rest < 10 else ''}{cardinal(rest)}"


def digits(text: str) -> str:
    """Each digit of `text` as a word."""
    return " ".join(ONES[int(character)] for character in text if character in "0123456789")


def decimal(text: str, reading: Reading = AMERICAN) -> str:
    """ "1,250.05" is "one thousand two hundred fifty point zero five"; a leading zero may lack."""
    whole, _, fraction = text.replace(",", "").partition(".")
    spoken = cardinal(int(whole), reading) if whole else ""
    return f"{spoken} point {digits(fraction)}".strip() if fraction else spoken


def plural(word: str) -> str:
    """ "ninety" is "nineties", "six" is "sixes", "third" is "thirds"."""
    if word.endswith("y"):
        return word[:-1] + "ies"
    return word + ("es" if word.endswith("x") else "s")
