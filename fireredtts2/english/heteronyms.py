"""Words that are spelt alike and said differently: chosen by the words beside them."""

from __future__ import annotations

from fireredtts2.english.word_sets import word_set
from fireredtts2.phonemes import VOWEL_UNITS, from_arpabet

_BEFORE_NOUN = word_set(
    "a an the this that these those my your his her its our their no any some each every another "
    "of in on with for from by at into new old good bad big small great first last next same "
    "one two three whose what which"
)
_BEFORE_VERB = word_set(
    "to i you we they will would can could shall should may might must do does did don't doesn't "
    "didn't can't couldn't won't wouldn't shouldn't i'll you'll we'll they'll he'll she'll let's "
    "please not never always who and or"
)
_BEFORE_PARTICIPLE = word_set(
    "have has had having was were been be being is are i've you've we've they've he's she's it's "
    "already just ever never i'd he'd she'd they'd we'd"
)
_LIVE_NOUNS = word_set(
    "music show shows concert concerts audience broadcast broadcasts stream streams streaming "
    "performance performances tv television radio coverage event events band bands wire wires "
    "ammunition animals animal bait video chat demo session sessions from"
)

#: word: (as a noun or adjective, as a verb)
_NOUN_VERB = {
    word: (from_arpabet(noun), from_arpabet(verb))
    for word, (noun, verb) in {
        "use": ("Y UW1 S", "Y UW1 Z"), "close": ("K L OW1 S", "K L OW1 Z"),
        "house": ("HH AW1 S", "HH AW1 Z"), "excuse": ("IH0 K S K Y UW1 S", "IH0 K S K Y UW1 Z"),
        "abuse": ("AH0 B Y UW1 S", "AH0 B Y UW1 Z"), "record": ("R EH1 K ER0 D", "R IH0 K AO1 R D"),
        "records": ("R EH1 K ER0 D Z", "R IH0 K AO1 R D Z"),
        "present": ("P R EH1 Z AH0 N T", "P R IY0 Z EH1 N T"),
        "object": ("AA1 B JH EH0 K T", "AH0 B JH EH1 K T"),
        "project": ("P R AA1 JH EH0 K T", "P R AH0 JH EH1 K T"),
        "produce": ("P R OW1 D UW0 S", "P R AH0 D UW1 S"),
        "subject": ("S AH1 B JH IH0 K T", "S AH0 B JH EH1 K T"),
        "separate": ("S EH1 P R AH0 T", "S EH1 P ER0 EY2 T"),
        "estimate": ("EH1 S T AH0 M AH0 T", "EH1 S T AH0 M EY2 T"),
        "permit": ("P ER1 M IH2 T", "P ER0 M IH1 T"), "rebel": ("R EH1 B AH0 L", "R IH0 B EH1 L"),
        "conduct": ("K AA1 N D AH0 K T", "K AH0 N D AH1 K T"),
        "conflict": ("K AA1 N F L IH0 K T", "K AH0 N F L IH1 K T"),
        "contract": ("K AA1 N T R AE2 K T", "K AH0 N T R AE1 K T"),
        "contrast": ("K AA1 N T R AE0 S T", "K AH0 N T R AE1 S T"),
        "increase": ("IH1 N K R IY2 S", "IH0 N K R IY1 S"),
        "decrease": ("D IY1 K R IY2 S", "D IH0 K R IY1 S"),
        "desert": ("D EH1 Z ER0 T", "D IH0 Z ER1 T"),
        "insult": ("IH1 N S AH2 L T", "IH0 N S AH1 L T"),
        "import": ("IH1 M P AO2 R T", "IH2 M P AO1 R T"), "tear": ("T IH1 R", "T EH1 R"),
        "export": ("EH1 K S P AO0 R T", "IH0 K S P AO1 R T"), "wind": ("W IH1 N D", "W AY1 N D"),
        "progress": ("P R AA1 G R EH2 S", "P R AH0 G R EH1 S"),
        "protest": ("P R OW1 T EH2 S T", "P R AH0 T EH1 S T"),
        "refuse": ("R EH1 F Y UW2 Z", "R IH0 F Y UW1 Z"),
        "suspect": ("S AH1 S P EH2 K T", "S AH0 S P EH1 K T"),
        "transfer": ("T R AE1 N S F ER0", "T R AE0 N S F ER1"),
        "advocate": ("AE1 D V AH0 K AH0 T", "AE1 D V AH0 K EY2 T"),
        "duplicate": ("D UW1 P L AH0 K AH0 T", "D UW1 P L AH0 K EY2 T"),
        "graduate": ("G R AE1 JH AH0 W AH0 T", "G R AE1 JH AH0 W EY2 T"),
    }.items()
}  # fmt: skip

#: Words of `_NOUN_VERB` that are verbs where nothing beside them tells.
_MOSTLY_VERBS = frozenset({"use", "close", "refuse", "produce", "excuse", "permit"})

_READ_PAST, _READ_PRESENT = from_arpabet("R EH1 D"), from_arpabet("R IY1 D")
_LIVE_ADJECTIVE, _LIVE_VERB = from_arpabet("L AY1 V"), from_arpabet("L IH1 V")
_LEAD_METAL, _LEAD_VERB = from_arpabet("L EH1 D"), from_arpabet("L IY1 D")
_THE_STRONG, _THE_WEAK = from_arpabet("DH IY0"), from_arpabet("DH AH0")
_TO_STRONG, _TO_WEAK = from_arpabet("T UW0"), from_arpabet("T AH0")


def choose(word: str, before: str, after: str, after_units: str) -> str | None:
    """Units of a heteronym.

    Args:
        word: the word, lowercase.
        before, after: the words beside it, lowercase, "" where a sentence begins or ends.
        after_units: the units of the word after it.

    Returns:
        The units, or None if the word is said in one way.
    """
    if word in ("the", "to"):
        before_vowel = after_units[:1] in VOWEL_UNITS if after_units else word == "to"
        strong, weak = (_THE_STRONG, _THE_WEAK) if word == "the" else (_TO_STRONG, _TO_WEAK)
        return strong if before_vowel else weak
    if word == "read":
        return _READ_PAST if before in _BEFORE_PARTICIPLE else _READ_PRESENT
    if word == "live":
        is_adjective = after in _LIVE_NOUNS or before in ("a", "the", "going", "go")
        return _LIVE_ADJECTIVE if is_adjective and before != "to" else _LIVE_VERB
    if word == "lead":
        is_metal = after in ("pipe", "pipes", "paint", "poisoning", "pencil", "acid", "bullet")
        return _LEAD_METAL if is_metal else _LEAD_VERB
    if word in _NOUN_VERB:
        return _NOUN_VERB[word][_is_verb(word, before)]
    return None


def _is_verb(word: str, before: str) -> bool:
    if before in _BEFORE_NOUN:
        return False
    return before in _BEFORE_VERB or word in _MOSTLY_VERBS
