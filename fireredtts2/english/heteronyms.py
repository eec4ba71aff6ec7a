"""Words that are spelt alike and said differently: chosen by the words beside them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from fireredtts2.english import morphology, noun_verb
from fireredtts2.english.word_sets import word_set
from fireredtts2.phonemes import VOWEL_UNITS, from_arpabet

_BEFORE_PARTICIPLE = word_set(
    "have has had having was were been be being is are i've you've we've they've he's she's it's "
    "already just ever never i'd he'd she'd they'd we'd"
)
_LIVE_NOUNS = word_set(
    "music show shows concert concerts audience broadcast broadcasts stream streams streaming "
    "performance performances tv television radio coverage event events band bands wire wires "
    "ammunition animals animal bait video chat demo session sessions from"
)

_READ_PAST, _READ_PRESENT = from_arpabet("R EH1 D"), from_arpabet("R IY1 D")
_THIRD_PERSONS = word_set("he she it everyone everybody someone nobody")
_ASKS = word_set(
    "do does did don't doesn't didn't can could will would shall should may might must to let make "
    "makes made help helped see saw watch watched hear heard can't won't couldn't wouldn't "
    "shouldn't"
)
_LEAD_METAL, _LEAD_VERB = from_arpabet("L EH1 D"), from_arpabet("L IY1 D")
_THE_STRONG, _THE_WEAK = from_arpabet("DH IY0"), from_arpabet("DH AH0")
_TO_STRONG, _TO_WEAK = from_arpabet("T UW0"), from_arpabet("T AH0")
_FOR_STRONG = from_arpabet("F AO1 R")
_TEAR_NOUN, _TEAR_VERB = from_arpabet("T IH1 R"), from_arpabet("T EH1 R")
_WOUND_NOUN, _WOUND_VERB = from_arpabet("W UW1 N D"), from_arpabet("W AW1 N D")
_BASS_MUSIC, _BASS_FISH = from_arpabet("B EY1 S"), from_arpabet("B AE1 S")
_BOW_KNOT, _BOW_BEND = from_arpabet("B OW1"), from_arpabet("B AW1")
_SOW_SEEDS, _SOW_PIG = from_arpabet("S OW1"), from_arpabet("S AW1")
_CONTENT_NOUN = from_arpabet("K AA1 N T EH0 N T")
_CONTENT_ADJECTIVE = from_arpabet("K AH0 N T EH1 N T")

_PRONOUNS = word_set("i you he she it we they who")
_DEGREES = word_set("so as very too how quite pretty really get gets got stay stayed came come")
_AROUND = word_set("up down around round through along tightly back")
_TIED_BOWS = word_set(
    "his her my your the a red pink blue white black silk satin ribbon hair cross long violin cello"
)


@dataclass(frozen=True)
class Beside:
    """What stands beside a word: lowercase words of the same phrase, "" where there is none.

    `earlier` is the word before `before`; `after_units` are the units of `after`.
    """

    earlier: str = ""
    before: str = ""
    after: str = ""
    after_units: str = ""


def choose(word: str, beside: Beside) -> str | None:
    """Units of a heteronym, given in lowercase, or None if the word is said in one way."""
    if chosen := _CHOICES.get(word):
        return chosen(beside)
    return noun_verb.choose(word, beside.earlier, beside.before, beside.after)


def _the(beside: Beside) -> str:
    return _THE_STRONG if beside.after_units[:1] in VOWEL_UNITS else _THE_WEAK


def _to(beside: Beside) -> str:
    is_strong = not beside.after_units or beside.after_units[0] in VOWEL_UNITS
    return _TO_STRONG if is_strong else _TO_WEAK


def _for(beside: Beside) -> str | None:
    """Full at the end: "what is it for?"."""
    return None if beside.after else _FOR_STRONG


def _read(beside: Beside) -> str:
    """Past in "have read", "have you read" and "she read", not in "did she read"."""
    if beside.before in _BEFORE_PARTICIPLE or beside.earlier in ("have", "has", "had"):
        return _READ_PAST
    is_past = beside.before in _THIRD_PERSONS and beside.earlier not in _ASKS
    return _READ_PAST if is_past else _READ_PRESENT


def _close(beside: Beside) -> str:
    is_near = (
        beside.after in ("to", "by", "friend", "friends", "enough") or beside.before in _DEGREES
    )
    is_verb = not is_near and noun_verb.is_verb("close", beside.before)
    return noun_verb.UNITS["close"][bool(is_verb)]


def _live(beside: Beside) -> str:
    is_adjective = beside.after in _LIVE_NOUNS or beside.before in ("a", "the", "going", "go")
    return noun_verb.UNITS["live"][not is_adjective or beside.before == "to"]


def _lead(beside: Beside) -> str:
    is_metal = beside.after in ("pipe", "pipes", "paint", "poisoning", "pencil", "acid", "bullet")
    return _LEAD_METAL if is_metal else _LEAD_VERB


def _tears(beside: Beside) -> str:
    return morphology.add_s(_TEAR_VERB if beside.before in ("he", "she", "it") else _TEAR_NOUN)


def _wound(beside: Beside) -> str:
    is_verb = beside.after in _AROUND or beside.before in _PRONOUNS
    return _WOUND_VERB if is_verb else _WOUND_NOUN


def _bass(beside: Beside) -> str:
    is_fish = beside.after in ("fish", "fishing", "boat", "lake") or beside.before in (
        "sea", "striped", "largemouth", "smallmouth", "catch", "caught",
    )  # fmt: skip
    return _BASS_FISH if is_fish else _BASS_MUSIC


def _bow(beside: Beside) -> str:
    """A bow is tied or shot with; one bows, takes a bow, and stands in the bow of a ship."""
    is_taken = beside.earlier in ("take", "took", "takes", "taking", "deep", "low")
    is_bent = beside.after in ("of", "to", "down", "before") or is_taken
    is_tied = beside.after in ("and", "tie", "ties") or beside.before in _TIED_BOWS
    return _BOW_KNOT if is_tied and not is_bent else _BOW_BEND


def _sow(beside: Beside) -> str:
    return _SOW_PIG if beside.before in ("a", "the", "old", "big", "mother") else _SOW_SEEDS


def _content(beside: Beside) -> str:
    is_adjective = beside.before in ("am", "is", "are", "was", "were", "be", "i'm", "feel", "felt")
    return _CONTENT_ADJECTIVE if is_adjective else _CONTENT_NOUN


_CHOICES: dict[str, Callable[[Beside], str | None]] = {
    "the": _the, "to": _to, "for": _for, "read": _read, "close": _close, "live": _live,
    "lead": _lead,
    "tears": _tears, "wound": _wound, "bass": _bass, "bow": _bow, "sow": _sow, "content": _content,
}  # fmt: skip
