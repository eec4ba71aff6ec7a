"""Pronounces a word that is not in the dictionary from words that are: endings, prefixes, spelling.

Every rule takes `find`, which gives the units of a word or None and may itself derive them.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from fireredtts2.english.word_sets import word_set
from fireredtts2.phonemes import VOWEL_UNITS, from_arpabet

Find = Callable[[str], "str | None"]

MIN_STEM_LETTERS = 3  # shorter stems are mostly accidents ("re" in "red")
MIN_COMPOUND_PART_LETTERS = 3

_SIBILANTS = tuple(map(from_arpabet, ("S", "Z", "SH", "ZH", "CH", "JH")))
_VOICELESS = tuple(map(from_arpabet, ("P", "T", "K", "F", "TH", "S", "SH", "CH")))
_NG = from_arpabet("NG")
_TEETH_STOPS = tuple(map(from_arpabet, ("T", "D")))

#: Endings that only add sounds, longest first.
_SUFFIXES = {
    ending: from_arpabet(phones)
    for ending, phones in {
        "fulness": "F AH0 L N AH0 S", "lessness": "L AH0 S N AH0 S",
        "ability": "AH0 B IH1 L AH0 T IY0",
        "ishness": "IH0 SH N AH0 S", "iness": "IY0 N AH0 S", "ingly": "IH0 NG L IY0",
        "fully": "F AH0 L IY0", "ness": "N AH0 S", "less": "L AH0 S", "ment": "M AH0 N T",
        "ship": "SH IH2 P", "hood": "HH UH2 D", "like": "L AY2 K", "wise": "W AY2 Z",
        "some": "S AH0 M", "ward": "W ER0 D", "able": "AH0 B AH0 L", "ible": "AH0 B AH0 L",
        "ably": "AH0 B L IY0", "ings": "IH0 NG Z", "ism": "IH2 Z AH0 M", "ist": "AH0 S T",
        "ize": "AY2 Z", "ful": "F AH0 L", "ing": "IH0 NG", "ish": "IH0 SH", "ous": "AH0 S",
        "est": "AH0 S T", "dom": "D AH0 M", "ers": "ER0 Z", "or": "ER0", "er": "ER0", "ly": "L IY0",
        "al": "AH0 L", "y": "IY0",
    }.items()
}  # fmt: skip

PREFIXES = {
    prefix: from_arpabet(phones)
    for prefix, phones in {
        "counter": "K AW1 N T ER0", "electro": "IH0 L EH1 K T R OW0", "hyper": "HH AY1 P ER0",
        "inter": "IH1 N T ER0", "intra": "IH1 N T R AH0", "micro": "M AY1 K R OW0",
        "cyber": "S AY1 B ER0", "mega": "M EH1 G AH0", "mini": "M IH1 N IY0",
        "nano": "N AE1 N OW0", "bio": "B AY1 OW0", "eco": "IY1 K OW0", "geo": "JH IY1 OW0",
        "neo": "N IY1 OW0",
        "multi": "M AH1 L T IY0", "photo": "F OW1 T OW0", "super": "S UW1 P ER0",
        "trans": "T R AE1 N Z", "ultra": "AH1 L T R AH0", "under": "AH1 N D ER0",
        "anti": "AE1 N T IY0", "auto": "AO1 T OW0", "fore": "F AO1 R", "over": "OW1 V ER0",
        "post": "P OW1 S T", "self": "S EH1 L F", "semi": "S EH1 M IY0", "tele": "T EH1 L AH0",
        "dis": "D IH0 S", "mid": "M IH1 D", "mis": "M IH0 S", "non": "N AA1 N", "out": "AW1 T",
        "pre": "P R IY0", "pro": "P R OW0", "sub": "S AH1 B", "tri": "T R AY0", "bi": "B AY0",
        "co": "K OW0", "de": "D IY0", "en": "EH0 N", "ex": "EH1 K S", "re": "R IY0", "un": "AH0 N",
    }.items()
}  # fmt: skip

_CONTRACTIONS = {
    "'ll": from_arpabet("AH0 L"), "'d": from_arpabet("D"), "'ve": from_arpabet("AH0 V"),
    "'re": from_arpabet("ER0"), "n't": from_arpabet("AH0 N T"), "'m": from_arpabet("M"),
}  # fmt: skip

#: Words of three letters that compounds are made of; the dictionary has many names of that length.
_SHORT_PARTS = word_set(
    "air any arm art bag ban bar bat bay bed bee bet bid big bit box boy bug bus buy cab can "
    "cap car cat cow cup cut day dog dry ear egg end eye fan fat fit fly for fox fun fur gas "
    "get god gun guy hat hay hen her him hip his hit hot ice ink ivy jam jar jaw jet job joy "
    "key kid lap law leg lid lip log lot low mad man map may men mid mix mob mud net new not "
    "now nut oak off oil old one our out own paw pay pea pen pet pie pig pin pit pop pot pub "
    "put rag rat raw red rib rod row rub run sad saw sea set sex she sky son spy sub sun tag "
    "tap tar tax tea ten tie tin tip toe top toy try tub two use van war wax way web wet who "
    "win you zip"
)

#: British spellings and their American ones, which the dictionary has.
_BRITISH = [
    (re.compile(pattern), american)
    for pattern, american in (
        (r"our(?=s?$|ed$|ing$|ite|able|er|ful|less)", "or"),
        (r"is(?=e[sdr]?$|ing$|ation|able|ers$)", "iz"),
        (r"ys(?=e[sdr]?$|ing$|ers$)", "yz"),
        (r"tre(?=s?$)", "ter"), (r"bre(?=s?$)", "ber"), (r"tred$", "tered"),
        (r"ll(?=e[drst]|ing|ist|ers|or)", "l"), (r"l(?=ment|ful|s?$)", "ll"),
        (r"pp(?=ed|ing|ers?)", "p"), (r"ogue(?=s?$)", "og"), (r"amme(?=s?$)", "am"),
        (r"ae", "e"), (r"oe", "e"), (r"ence(?=s?$)", "ense"), (r"mould", "mold"),
        (r"plough", "plow"), (r"grey", "gray"), (r"sulph", "sulf"), (r"tyre", "tire"),
        (r"cheque", "check"), (r"que(?=s?$)", "ck"), (r"gement", "gment"), (r"xion", "ction"),
        (r"aluminium", "aluminum"), (r"sceptic", "skeptic"), (r"ph", "f"),
    )
]  # fmt: skip


def derive(word: str, find: Find, known: Find) -> str | None:
    """Makes the units of a word from those of others.

    Args:
        word: lowercase letters and apostrophes.
        find: units of a simpler word, derived if need be.
        known: units of a word of the dictionary; parts of a compound must be such.

    Returns:
        The units, or None if no rule applies.
    """
    # NOTE: one step from the dictionary comes before two: "timbered" is "timber", not "tim" "bere".
    for look_up in (known, find):
        for rule in (_contraction, _plural, _past, _dropped_g, _suffix, _prefix, _spelling):
            if units := rule(word, look_up):
                return units
    return _compound(word, known)


def add_s(units: str) -> str:
    """Sounds of a word with a plural, possessive or third-person s."""
    if units.endswith(_SIBILANTS):
        return units + from_arpabet("AH0 Z")
    return units + from_arpabet("S" if units.endswith(_VOICELESS) else "Z")


def add_ed(units: str) -> str:
    """Sounds of a verb in the past tense."""
    if units.endswith(_TEETH_STOPS):
        return units + from_arpabet("AH0 D")
    return units + from_arpabet("T" if units.endswith(_VOICELESS) else "D")


def stems(stem: str) -> Iterator[str]:
    """Spellings that a word may have had before an ending that starts with a vowel."""
    if len(stem) < MIN_STEM_LETTERS - 1:
        return
    if stem[-1] == "i":
        yield stem[:-1] + "y"
    if re.search(r"[^aeiou][aeiou][^aeiouwxy]$|[cgsvuz]$", stem):
        yield stem + "e"
    yield stem
    if len(stem) > MIN_STEM_LETTERS and (stem[-1] == stem[-2] or stem.endswith("ck")):
        yield stem[:-1]  # "stopped", "picnicked"
    yield stem + "e"


def _contraction(word: str, find: Find) -> str | None:
    for ending, sounds in _CONTRACTIONS.items():
        if word.endswith(ending) and (units := find(word[: -len(ending)])):
            return units + sounds
    return None


def _plural(word: str, find: Find) -> str | None:
    if word.endswith(("'s", "s'")):
        units = find(word[:-2]) if word.endswith("'s") else find(word[:-1])
        return add_s(units) if units and word.endswith("'s") else units
    if not word.endswith("s") or word.endswith(("ss", "us", "is")) or len(word) <= MIN_STEM_LETTERS:
        return None
    if word.endswith("ies") and (units := find(word[:-3] + "y")):
        return add_s(units)
    if units := find(word[:-1]):
        return add_s(units)
    if word.endswith("ves") and (units := find(word[:-3] + "f")):
        return units[:-1] + from_arpabet("V Z")
    if word.endswith("es") and (units := find(word[:-2])):
        return add_s(units)
    return None


def _past(word: str, find: Find) -> str | None:
    if not word.endswith("ed") or len(word) < MIN_STEM_LETTERS + 2:
        return None
    units = _first(stems(word[:-2]), find)
    return add_ed(units) if units else None


def _dropped_g(word: str, find: Find) -> str | None:
    """ "lookin" and "lookin'"."""
    full = word.removesuffix("'") + "g"
    units = find(full) if full.endswith("ing") and len(full) > MIN_STEM_LETTERS + 2 else None
    return units[:-1] + from_arpabet("N") if units and units.endswith(_NG) else None


def _spelling(word: str, find: Find) -> str | None:
    for pattern, american in _BRITISH:
        respelt, count = pattern.subn(american, word, count=1)
        if count and (units := find(respelt)):
            return units
    return None


def _suffix(word: str, find: Find) -> str | None:
    for ending, sounds in _SUFFIXES.items():
        stem = word[: -len(ending)]
        if not word.endswith(ending) or len(stem) < MIN_STEM_LETTERS:
            continue
        # "gently" is "gentle", not "gent"
        if ending == "ly" and stem[-1] in "bptdgfk" and (units := find(stem + "le")):
            return units.removesuffix(from_arpabet("AH0 L")) + sounds
        if ending == "ly" and stem.endswith("ical") and (units := find(stem[:-2])):
            return units + sounds
        options = stems(stem) if ending[0] in "aeiouy" else _before_consonant(stem)
        if units := _first(options, find):
            is_double = ending == "ly" and units.endswith(sounds[0])  # "dully" has one L
            return units + (sounds[1:] if is_double else sounds)
    return None


def _before_consonant(stem: str) -> Iterator[str]:
    if stem[-1] == "i":
        yield stem[:-1] + "y"
    yield stem


def _prefix(word: str, find: Find) -> str | None:
    for prefix, sounds in PREFIXES.items():
        rest = word[len(prefix) :]
        if word.startswith(prefix) and len(rest) > MIN_STEM_LETTERS and (units := find(rest)):
            return sounds + units
    return None


def _compound(word: str, known: Find) -> str | None:
    """Two known words in one, cut as near the middle as may be."""
    size = MIN_COMPOUND_PART_LETTERS
    cuts = sorted(range(size, len(word) - size + 1), key=lambda cut: abs(2 * cut - len(word)))
    for cut in cuts:
        halves = word[:cut], word[cut:]
        units = [known(half) for half in halves if len(half) > size or half in _SHORT_PARTS]
        if len(units) == len(halves) and all(part and VOWEL_UNITS & set(part) for part in units):
            return "".join(part for part in units if part)
    return None


def _first(words: Iterator[str], find: Find) -> str | None:
    return next((units for word in words if (units := find(word))), None)
