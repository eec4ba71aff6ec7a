"""The alphabet of speech: one character for each sound, mark and letter that a model may read.

English sounds are those of ARPAbet, as in the CMU Pronouncing Dictionary. A vowel has two
characters: the small one is unstressed, the capital one carries primary or secondary stress.
Lowercase a to z are not sounds: they are the letters of a word that could not be looked up.
"""

from __future__ import annotations

CONSONANTS: dict[str, str] = {
    "B": "B", "CH": "ʧ", "D": "D", "DH": "ð", "F": "F", "G": "G", "HH": "H", "JH": "ʤ",
    "K": "K", "L": "L", "M": "M", "N": "N", "NG": "ŋ", "P": "P", "R": "R", "S": "S",
    "SH": "ʃ", "T": "T", "TH": "θ", "V": "V", "W": "W", "Y": "Y", "Z": "Z", "ZH": "ʒ",
}  # fmt: skip

#: (unstressed, stressed)
VOWELS: dict[str, tuple[str, str]] = {
    "AA": ("ɑ", "Ɑ"), "AE": ("æ", "Æ"), "AH": ("ə", "Ʌ"), "AO": ("ɔ", "Ɔ"), "AW": ("â", "Â"),
    "AY": ("ä", "Ä"), "EH": ("ɛ", "Ɛ"), "ER": ("ɜ", "Ɜ"), "EY": ("ê", "Ê"), "IH": ("ɪ", "Ɪ"),
    "IY": ("î", "Î"), "OW": ("ô", "Ô"), "OY": ("ö", "Ö"), "UH": ("ʊ", "Ʊ"), "UW": ("û", "Û"),
}  # fmt: skip

PUNCTUATION = ".,?!;:-'\""
LETTERS = "abcdefghijklmnopqrstuvwxyz"
VOWEL_UNITS = frozenset(unit for pair in VOWELS.values() for unit in pair)

#: Every unit in a fixed order: a tokenizer built from it never changes its ids.
UNITS: tuple[str, ...] = (
    " ",
    *PUNCTUATION,
    *LETTERS,
    *CONSONANTS.values(),
    *(unit for pair in VOWELS.values() for unit in pair),
)


def from_arpabet(phones: str) -> str:
    """Turns "HH AH0 L OW1" into units.

    Raises:
        ValueError: a name that is not an ARPAbet phoneme.
    """
    return "".join(map(_unit, phones.split()))


def _unit(phone: str) -> str:
    if phone in CONSONANTS:
        return CONSONANTS[phone]
    if phone[:-1] in VOWELS and phone[-1] in "012":
        return VOWELS[phone[:-1]][phone[-1] != "0"]
    raise ValueError(f"{phone!r} is not an ARPAbet phoneme (such as K, or AH0 with its stress)")
