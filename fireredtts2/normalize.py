"""English as people type it, turned into the words that people say.

Rules of our own: a general library was weighed and left out, because it takes a second to import,
weighs 49 MB and misreads money, versions, decades, heights and telephone numbers.
"""

from __future__ import annotations

import re
import unicodedata

from fireredtts2.english import abbreviations, addresses, initials, quantities, times
from fireredtts2.english.capitals import may_be_shouted
from fireredtts2.english.number_words import AMERICAN, Reading, digits
from fireredtts2.english.rules import Rule, apply, replacement, rule
from fireredtts2.english.word_sets import word_set

_FOLDED = str.maketrans(
    {
        **dict.fromkeys("’‘ʼ`´", "'"), **dict.fromkeys("“”„«»", '"'),
        **dict.fromkeys("\u200b\u200c\u200d\u2060\ufeff\u00ad\ufe0e\ufe0f™®©", None),
        **dict.fromkeys("•●▪‣◦·", " "), "−": "-", "℃": "°C", "℉": "°F", "№": "No. ", "…": "...",
        "½": " 1/2", "⅓": " 1/3", "⅔": " 2/3", "¼": " 1/4", "¾": " 3/4", "⅛": " 1/8", "⅜": " 3/8",
        "⅝": " 5/8", "⅞": " 7/8", "⅕": " 1/5", "ﬁ": "fi", "ﬂ": "fl",
    }
)  # fmt: skip
_EMOJI = re.compile(
    "[\U0001f000-\U0001faff\U0001fb00-\U0001fbff\u2600-\u27bf\u2b00-\u2bff\u2190-\u2193\u23e9-\u23fa"
    "\U000e0020-\U000e007f\u20e3]"
)
#: A colon or semicolon may be eyes before any mouth; an 8, an x or an equals sign is mostly itself.
_EMOTICON = re.compile(
    r"(?<![\w:;])(?:[:;]'?-?[)(DPpOo3/\\|*]|=-?[)(DPp]|8-\)|<3|\^_\^|[xX]D|T_T)(?=[\s.,!?]|$)"
)

#: Words drawn out in writing that have a double letter; others get a single one.
_DOUBLE_LETTER_WORDS = word_set(
    "aww beer been boo book boom brr cool deep eww feel food foot free good goodness green grr "
    "hello hmm hoo hurry keep look mm mood meet moon need noon ooh oops poor psst really room "
    "school see seem seen shh sleep soon sorry speed sweet thee three too tree uhh week woohoo "
    "wee woo yell zoo zz all well will call tall bell hill still kill full pull miss kiss boss "
    "mess less pass class happy funny silly pretty yummy daddy mommy dinner summer"
)

_WIDE = re.compile("[\uff01-\uff5e\u3000\u00a0\u2000-\u200a\u202f]+")
_LONG_DIGITS = re.compile(r"\d{19,}")
_DRAWN_OUT = re.compile(r"([a-z])\1\1|([A-Z])\2\2\2")

_SLASHED_ALTERNATIVES = "he/she|she/he|him/her|his/her|his/hers|yes/no|s/he|true/false"

_PLAIN_RULES: tuple[Rule, ...] = (
    replacement(r"!?\[([^\]\n]{0,200})\]\((?=[^()\s]*[./#])[^()\s]{1,500}\)", r"\1"),
    replacement(r"~~(\S[^~\n]{0,200})~~", r"\1"),
    replacement(r"(?<=\d)\*\*(?=\d)", "^"),
    replacement(r"(?<=\d)\*(?=\d)", " × "),
    replacement(r"\*{1,3}(\S(?:[^*\n]{0,200}\S)?)\*{1,3}", r"\1"),
    replacement(r"(?<!\w)_{1,2}([^_\s](?:[^_\n]{0,200}[^_\s])?)_{1,2}(?!\w)", r"\1"),
    replacement(r"(?m)^#{1,6} +|^> +|^[-*] +", ""),
    replacement(r"\bC\+\+", "C plus plus"),
    replacement(r"\b([CFcf])#(?!\w)", r"\1 sharp"),
    replacement(r"(?<!\w)\.NET\b", "dot net"),
    replacement(r"\bR&D\b", "R and D"),
    replacement(r"\bA\+(?!\w)", "A plus"),
    replacement(r"\bI/O\b", "I O"),
)
_SYMBOL_RULES: tuple[Rule, ...] = (
    rule(
        rf"(?i)(?<![\w/])(?:{_SLASHED_ALTERNATIVES})(?![\w/])",
        lambda m, _: " or ".join(m[0].replace("s/he", "she/he").split("/")),
    ),
    replacement(r"(?i)\b(and|either|neither)/(n?or)\b", r"\1 \2"),
    replacement(r"(?<=[A-Z])/(?=[A-Z])", " "),
    replacement(r"(?<=[A-Za-z])\s?/\s?(?=[A-Za-z])", " slash "),
    replacement(r"(?<=\w)\s?\^\s?(?=\w)", " to the power of "),
    replacement(r"(?<=\w)²", " squared"),
    replacement(r"(?<=\w)³", " cubed"),
    replacement(r"\s*&\s*", " and "),
    replacement(r"\s*%", " percent"),
    replacement(r"(?<=\w)\s?\+\s?(?=\w)", " plus "),
    replacement(r"(?<=[a-z])\+(?=\W|$)", " plus"),
    replacement(r"\s*(?:≈|~=)\s*", " approximately equals "),
    replacement(r"(?<!\w)[~≈]\s?(?=\w)", "about "),
    replacement(r"(?<=\w)\s?~\s?(?=\w)", " to "),
    replacement(r"\s*(?:!=|≠)\s*", " is not equal to "),
    replacement(r"\s*(?:<=|≤)\s*", " is at most "),
    replacement(r"\s*(?:>=|≥)\s*", " is at least "),
    replacement(r"\s*(?:->|=>|→|⇒)\s*", " to "),
    replacement(r"(?<=\w)\s*={1,3}\s*(?=[\w-])", " equals "),
    replacement(r"(?<=\w)\s+<\s+(?=\w)", " is less than "),
    replacement(r"(?<=\w)\s+>\s+(?=\w)", " is greater than "),
    replacement(r"(?<=\w)\s?(?:[×]|\s\*\s)\s?(?=\w)", " times "),
    replacement(r"(?<=\w)\s?÷\s?(?=\w)", " divided by "),
    replacement(r"\s*±\s*", " plus or minus "),
    replacement(r"(?<!\w)@(?!\w)", "at"),
    replacement(r"°", " degrees "),
    replacement(r"[$£€¥]", " "),
    replacement(r"[*_^|\\~<>#{}=+]", " "),
)


def normalize(text: str, reading: Reading = AMERICAN) -> str:
    """Turns numbers, money, dates, signs and abbreviations into words.

    Args:
        text: English as typed.
        reading: how to read what can be read in two ways.

    Returns:
        One line of words and sentence punctuation. Plain words come back as they are.

    Example:
        normalize("Dr. Lee paid $3.50 at 5:05 p.m.")
        # "Doctor Lee paid three dollars and fifty cents at five oh five PM."
    """
    text = _clean(text)
    text = apply(_PLAIN_RULES, text, reading)
    text = _one_line(text)
    text = apply(addresses.RULES, text, reading)
    has_digits = re.search(r"\d", text) is not None
    if has_digits:
        text = apply(times.RULES, text, reading)
    text = apply(abbreviations.RULES, text, reading)
    text = apply(initials.RULES, text, reading)
    if has_digits:
        text = apply(quantities.RULES, text, reading)
    text = apply(_SYMBOL_RULES, text, reading)
    return _tidy(_quieten(_undraw(text)))


def _clean(text: str) -> str:
    text = _EMOTICON.sub(" ", _EMOJI.sub(" ", text.translate(_FOLDED)))
    text = _WIDE.sub(lambda match: unicodedata.normalize("NFKC", match[0]), text)
    return _LONG_DIGITS.sub(lambda match: f" {digits(match[0])} ", text)


def _one_line(text: str) -> str:
    """Joins lines; one without punctuation at its end was a sentence of its own."""
    lines = [" ".join(line.split()) for line in text.splitlines()]
    *above, last = [line for line in lines if line] or [""]
    ended = [line if line[-1] in ".,;:?!-'\")" else line + "." for line in above]
    return " ".join([*ended, last])


def _undraw(text: str) -> str:
    """ "soooo" is "so" and "gooood" is "good"; capitals such as AAA stay."""
    return re.sub(r"[A-Za-z]{3,}", _shorten, text)


def _shorten(match: re.Match[str]) -> str:
    if not _DRAWN_OUT.search(match[0]):
        return match[0]
    doubled = re.sub(r"(?i)([a-z])(\1)\1+", r"\1\2", match[0])
    if doubled.lower() in _DOUBLE_LETTER_WORDS:
        return doubled
    return re.sub(r"(?i)([a-z])\1{2,}", r"\1", match[0])


def _quieten(text: str) -> str:
    """A text that is mostly capitals is shouted: small letters are meant."""
    words = re.findall(r"[A-Za-z]{2,}", text)
    loud = [word for word in words if word.isupper()]
    is_mostly_loud = sum(map(len, loud)) > 0.6 * sum(map(len, words))
    if len(loud) < 3 or not is_mostly_loud or not may_be_shouted(text):
        return text
    lowered = re.sub(r"\bi\b", "I", text.lower())
    return re.sub(r"(?:^|(?<=[.?!] ))[\"']?[a-z]", lambda match: match[0].upper(), lowered)


def _tidy(text: str) -> str:
    text = re.sub(r"([!?])\1+", r"\1", text)
    text = re.sub(r"(?:\?!){2,}|(?:!\?)+", "?!", text)
    text = re.sub(r",{2,}", ",", text)
    text = re.sub(r"\.{4,}", "...", text)
    text = re.sub(r"\s+(?=[.,;:?!](?:\s|$))", "", " ".join(text.split()))
    return re.sub(r"\(\s+", "(", re.sub(r"\s+\)", ")", text))
