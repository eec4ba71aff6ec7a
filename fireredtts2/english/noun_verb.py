"""Words that are said in one way as a noun or adjective and in another as a verb."""

from __future__ import annotations

from fireredtts2.english import morphology
from fireredtts2.english.word_sets import word_set
from fireredtts2.phonemes import from_arpabet

_BEFORE_NOUN = word_set(
    "a an the this that these those my your his her its our their no any some each every another "
    "of in on with for from by at into new old good bad big small great first last next same "
    "one two three whose what which is are was were be been am it's that's"
)
_BEFORE_PLURAL = word_set(
    "the these those my your his her its our their no any some all both many few several other of "
    "in on with for from by at into new old good bad two three four five six seven eight nine ten "
    "human save saved saving lost more most whose what"
)
_BEFORE_VERB_S = word_set(
    "he she it who which that this everyone everybody someone somebody nobody also often always "
    "never still now"
)
_BEFORE_VERB = word_set(
    "to i you we they will would can could shall should may might must do does did don't doesn't "
    "didn't can't couldn't won't wouldn't shouldn't i'll you'll we'll they'll he'll she'll let's "
    "please never always"
)
#: Before a verb too, unless the word is an adjective, or a noun that stands in lists.
_BEFORE_MOSTLY_VERB = word_set("not who and or")

#: What a verb may be done to: "record it", "the law permits that".
_OBJECTS = word_set(
    "the a an my your his her its our their this these those it them all me him us you with"
)

#: word: (as a noun or adjective, as a verb)
UNITS = {
    word: (from_arpabet(noun), from_arpabet(verb))
    for word, (noun, verb) in {
        "use": ("Y UW1 S", "Y UW1 Z"), "close": ("K L OW1 S", "K L OW1 Z"),
        "house": ("HH AW1 S", "HH AW1 Z"), "excuse": ("IH0 K S K Y UW1 S", "IH0 K S K Y UW1 Z"),
        "abuse": ("AH0 B Y UW1 S", "AH0 B Y UW1 Z"), "record": ("R EH1 K ER0 D", "R IH0 K AO1 R D"),
        "present": ("P R EH1 Z AH0 N T", "P R IY0 Z EH1 N T"),
        "object": ("AA1 B JH EH0 K T", "AH0 B JH EH1 K T"),
        "project": ("P R AA1 JH EH0 K T", "P R AH0 JH EH1 K T"),
        "produce": ("P R OW1 D UW0 S", "P R AH0 D UW1 S"),
        "subject": ("S AH1 B JH IH0 K T", "S AH0 B JH EH1 K T"),
        "separate": ("S EH1 P R AH0 T", "S EH1 P ER0 EY2 T"),
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
        "perfect": ("P ER1 F IH2 K T", "P ER0 F EH1 K T"), "live": ("L AY1 V", "L IH1 V"),
        "convert": ("K AA1 N V ER0 T", "K AH0 N V ER1 T"),
        "combine": ("K AA1 M B AY0 N", "K AH0 M B AY1 N"),
        "compress": ("K AA1 M P R EH0 S", "K AH0 M P R EH1 S"),
        "extract": ("EH1 K S T R AE2 K T", "IH0 K S T R AE1 K T"),
        "exploit": ("EH1 K S P L OY2 T", "EH2 K S P L OY1 T"),
        "recall": ("R IY1 K AO2 L", "R IH0 K AO1 L"),
        "refund": ("R IY1 F AH2 N D", "R IH0 F AH1 N D"),
        "discount": ("D IH1 S K AW0 N T", "D IH0 S K AW1 N T"),
        "survey": ("S ER1 V EY2", "S ER0 V EY1"), "address": ("AE1 D R EH2 S", "AH0 D R EH1 S"),
        "impact": ("IH1 M P AE0 K T", "IH2 M P AE1 K T"),
        "transport": ("T R AE1 N S P AO0 R T", "T R AE0 N S P AO1 R T"),
        "update": ("AH1 P D EY2 T", "AH0 P D EY1 T"),
        "upgrade": ("AH1 P G R EY2 D", "AH0 P G R EY1 D"),
        "escort": ("EH1 S K AO0 R T", "EH0 S K AO1 R T"),
        "attribute": ("AE1 T R AH0 B Y UW2 T", "AH0 T R IH1 B Y UW2 T"),
        "console": ("K AA1 N S OW0 L", "K AH0 N S OW1 L"),
        "resume": ("R EH1 Z AH0 M EY2", "R IH0 Z UW1 M"),
        "elaborate": ("IH0 L AE1 B R AH0 T", "IH0 L AE1 B ER0 EY2 T"),
        # a noun or an adjective has a short last vowel, a verb a full one
        **{
            word + "te": (f"{stem} AH0 T", f"{stem} EY2 T")
            for word, stem in {
                "estima": "EH1 S T AH0 M", "advoca": "AE1 D V AH0 K", "duplica": "D UW1 P L AH0 K",
                "gradua": "G R AE1 JH AH0 W", "alterna": "AO1 L T ER0 N", "anima": "AE1 N AH0 M",
                "appropria": "AH0 P R OW1 P R IY0", "articula": "AA0 R T IH1 K Y AH0 L",
                "coordina": "K OW0 AO1 R D AH0 N", "delega": "D EH1 L AH0 G",
                "delibera": "D IH0 L IH1 B ER0",
                "intima": "IH1 N T AH0 M", "modera": "M AA1 D ER0",
            }.items()
        },
    }.items()
}  # fmt: skip

#: Where nothing beside them tells, these words of `UNITS` are verbs, ...
_MOSTLY_VERBS = word_set("use close refuse produce excuse permit")
#: ... these are nouns or adjectives, and others are what the dictionary says.
_MOSTLY_NOUNS = word_set(
    "house abuse record present object project subject separate rebel conduct conflict contract "
    "contrast increase decrease desert insult import export wind progress protest suspect transfer "
    "advocate duplicate graduate estimate tear perfect"
)
_MOSTLY_NOUNS_WITH_S = word_set("record")
_ALIKE_WITH_S = frozenset({"houses"})
_RARELY_VERBS = word_set(
    "perfect separate address discount alternate animate appropriate articulate deliberate "
    "elaborate intimate moderate"
)


def choose(word: str, earlier: str, before: str, after: str) -> str | None:
    """Units of such a word, perhaps with an s, or None if it is none, or nothing tells.

    Args:
        word: in lowercase, as all of them.
        earlier: the word before `before`; "" where there is none.
        before: the word before it.
        after: the word after it.
    """
    if word in UNITS:
        is_verb_here = True if not before and after in _OBJECTS else is_verb(word, before)
        return None if is_verb_here is None else UNITS[word][is_verb_here]
    base = word.removesuffix("s")
    if not word.endswith("s") or base not in UNITS or word in _ALIKE_WITH_S:
        return None
    is_verb_here = _is_verb_with_s(base, earlier, before, after)
    return None if is_verb_here is None else morphology.add_s(UNITS[base][is_verb_here])


def is_verb(word: str, before: str) -> bool | None:
    """Whether a word is a verb after another one; None where that does not tell."""
    if before in _BEFORE_VERB:
        return True
    if before in _BEFORE_NOUN or before.endswith(("'s", "s'")):
        return False
    if before in _BEFORE_MOSTLY_VERB:
        return word not in _RARELY_VERBS
    if word in _MOSTLY_VERBS:
        return True
    return False if word in _MOSTLY_NOUNS else None


def _is_verb_with_s(base: str, earlier: str, before: str, after: str) -> bool | None:
    if before in _BEFORE_PLURAL or before.endswith(("'s", "s'")) or after == "of":
        return False
    asks = before in ("which", "who") and not earlier  # "which records do you own?"
    if (before in _BEFORE_VERB_S and not asks) or (before and after in _OBJECTS):
        return True
    return False if asks or base in _MOSTLY_NOUNS_WITH_S else None
