"""The scripts that languages are written in, and how much there is to say in a text."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

#: Scripts as the names of their characters begin in Unicode.
LATIN, CYRILLIC, ARABIC, HAN = "LATIN", "CYRILLIC", "ARABIC", "CJK"
DEVANAGARI, BENGALI, HANGUL = "DEVANAGARI", "BENGALI", "HANGUL"
KANA = ("HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "HALFWIDTH")
DENSE = frozenset({HAN, HANGUL, *KANA})

_LATIN = (
    "af ca cs cy da de en es et eu fi fr ga gl hr hu id is it lt lv ms nl no nb nn pl pt ro sk sl "
    "sq sv sw tl tr vi"
)
_CYRILLIC = "be bg kk ky mk mn ru uk"

#: ISO 639-1, and what languages are tagged with besides.
SCRIPTS: dict[str, frozenset[str]] = {
    **dict.fromkeys(_LATIN.split(), frozenset({LATIN})),
    **dict.fromkeys(_CYRILLIC.split(), frozenset({CYRILLIC})),
    "sr": frozenset({CYRILLIC, LATIN}),
    **dict.fromkeys(("ar", "fa", "ps", "ur"), frozenset({ARABIC})),
    **dict.fromkeys(("zh", "yue", "wuu"), frozenset({HAN})),
    **dict.fromkeys(("hi", "mr", "ne"), frozenset({DEVANAGARI})),
    "ja": frozenset({HAN, *KANA}),
    "ko": frozenset({HANGUL, HAN}),
    "bn": frozenset({BENGALI}),
    "el": frozenset({"GREEK"}),
    "he": frozenset({"HEBREW"}),
    "th": frozenset({"THAI"}),
    "ka": frozenset({"GEORGIAN"}),
    "hy": frozenset({"ARMENIAN"}),
    "ta": frozenset({"TAMIL"}),
    "te": frozenset({"TELUGU"}),
}

#: Sources often write a language's English name.
NAMES = {
    "english": "en", "chinese": "zh", "mandarin": "zh", "japanese": "ja", "korean": "ko",
    "french": "fr", "german": "de", "spanish": "es", "italian": "it", "russian": "ru",
}  # fmt: skip


def language_code(language: str) -> str:
    """ISO 639-1 of "English", "en-US" or "en_us"; a name that is not known, in small letters."""
    name = language.strip().lower()
    return NAMES.get(name) or name.replace("_", "-").split("-")[0]


def script_share(text: str, language: str) -> float | None:
    """Share of a text's letters that are of its language's script.

    Args:
        text: as written.
        language: ISO 639-1, or what `language_code` makes one of; "" where unknown.

    Returns:
        0 to 1; None where the language or its script is not known, or there are no letters.
    """
    allowed = SCRIPTS.get(language_code(language))
    scripts = [script for character in text if (script := script_of(character))]
    if allowed is None or not scripts:
        return None
    return sum(script in allowed for script in scripts) / len(scripts)


@lru_cache(maxsize=65_536)
def script_of(character: str) -> str:
    """The script of a letter; "" for what is no letter."""
    if not character.isalpha():
        return ""
    return unicodedata.name(character, "UNKNOWN").split(" ")[0]


def count_spoken(text: str) -> int:
    """Letters and digits of a text, marks of letters not counted."""
    return sum(unicodedata.category(character)[0] in "LN" for character in text)


def is_dense(text: str) -> bool:
    """Whether most letters are of Chinese, Japanese or Korean, a syllable or more each."""
    scripts = [script for character in text if (script := script_of(character))]
    return sum(script in DENSE for script in scripts) * 2 > len(scripts)
