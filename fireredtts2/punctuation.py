"""Folds what people type into plain ASCII words and the punctuation that has units."""

from __future__ import annotations

import re
import unicodedata

from fireredtts2.english.number_words import ONES

_FOLDED = str.maketrans(
    {
        **dict.fromkeys("’‘ʼ`´＇", "'"), **dict.fromkeys("“”„«»「」『』《》＂", '"'),
        **dict.fromkeys("([{（【)]}）】", ", "), **dict.fromkeys("—―–‒", " - "),
        **dict.fromkeys("‐‑", "-"), **dict.fromkeys("，、،", ", "), **dict.fromkeys("。．।", ". "),
        "！": "! ", "？": "? ", "؟": "? ", "：": ": ", "；": "; ", "…": "...",
        "&": " and ", "%": " percent ", "@": " at ", "+": " plus ", "=": " equals ",
        "ß": "ss", "æ": "ae", "Æ": "Ae", "œ": "oe", "Œ": "Oe", "ø": "o", "Ø": "O", "ł": "l",
        "Ł": "L", "đ": "d", "ð": "th", "þ": "th", "ı": "i",
    }
)  # fmt: skip
_DIGITS = {str(digit): word for digit, word in enumerate(ONES[:10])}
_MARKUP = re.compile(r"<\|[^|<>]*\|>")
_MARKS = re.compile(r'[.,;:?!"-](?:\s*[.,;:?!])+')
_UNSAID = re.compile(r"[^A-Za-z.,?!;:'\"\s-]")


def fold(text: str) -> str:
    """Gives letters a to z in both cases, spaces and `.,?!;:-'"`; digits become words one by one.

    A hyphen stays only inside a word; a dash stands between spaces. Accents are dropped, and so
    is every character of another script.
    """
    text = _MARKUP.sub(" ", text).translate(_FOLDED)
    text = "".join(f" {_DIGITS[c]} " if c in _DIGITS else c for c in text)
    text = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    text = _UNSAID.sub(" ", text)
    text = re.sub(r"\.{2,}(?=\s+[a-z])", ",", text)  # "wait... what" does not end a sentence
    return re.sub(r"(?<![A-Za-z])-+|-+(?![A-Za-z])", " - ", text)


def tidy(text: str) -> str:
    """One space between words, one mark where several stood, none before the first word."""
    text = " ".join(text.split())
    text = _MARKS.sub(_strongest, text)
    text = re.sub(r"[,;:]? ?- (?:[-,;:] *)*", " - ", text)
    text = re.sub(r" +(?=[.,;:?!])", "", text)
    text = re.sub(r"([.,;:?!])(?=[^\s.,;:?!\"])", r"\1 ", text)
    return re.sub(r"^[\s.,;:?!-]+|[\s-]+$", "", text)


def _strongest(match: re.Match[str]) -> str:
    marks = match[0]
    quote = '"' if marks.startswith('"') else ""
    asked = "".join(mark for mark in "?!" if mark in marks)
    return quote + (asked or next(mark for mark in ".;:,-" if mark in marks))
