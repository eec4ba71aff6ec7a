"""Dotted abbreviations and initials as letters, and whether their last dot ends a sentence."""

from __future__ import annotations

import re

from fireredtts2.english.number_words import Reading
from fireredtts2.english.rules import Rule, replacement, rule
from fireredtts2.english.word_sets import word_set

#: Words that begin a sentence much more often than they go on after "the U.S." or an initial.
_SENTENCE_STARTERS = word_set(
    "A After All Also Although An And Another Any Are As At Because Before Both But By Can Could "
    "Did Do Does Don't Each Even Every Everybody Everyone Few Finally For From Had Has Have He "
    "He's Her Here His How However I I'd I'll I'm I've If In Instead Is It It's Its Just Later Let "
    "Let's Many Maybe Meanwhile Most My No Nobody Not Nothing Now On Once Only Or Our Perhaps "
    "Please She She's Should Since So Some Someone Something Soon Still That That's The Their Then "
    "There There's These They They're This Those Though To Today Tomorrow Until Was We We're Were "
    "What When Where Which While Who Whose Why Will With Without Would Yes Yesterday Yet You "
    "You're Your"
)
#: A letter after one of these is a name of its own, not the start of a surname.
_LABELS = word_set(
    "Aisle An Answer Apartment Appendix Block Building Bus Carbon Chapter Choice Class Column Deck "
    "Door Drive Exhibit Figure Floor Form Formula Gate Gen Generation Grade Group Hall Hepatitis "
    "House Item Lane Letter Level Line Lot Malcolm Model Note Option Page Part Pier Plan Platform "
    "Point Question Room Route Row Schedule Seat Section Serie Shift Site Size Slot Stage Step "
    "Table Team Terminal Track Type Unit Vitamin Wing Zone"
)
_DIRECTIONS = {"N": "North", "S": "South", "E": "East", "W": "West"}
_NEXT_CHARACTERS = 20
_NEXT_WORD = re.compile(r"[A-Z][A-Za-z']*")


def _letters(dotted: str) -> str:
    return " ".join(dotted.replace(".", "").replace(" ", "").upper())


def _starts_sentence(text: str) -> bool:
    """Whether a sentence starts with `text`, or ended before it."""
    rest = text.lstrip(" \"')")
    word = _NEXT_WORD.match(rest)
    return not rest or (word is not None and word[0] in _SENTENCE_STARTERS)


def _of_name(match: re.Match[str], reading: Reading) -> str:
    """ "George W. Bush" has an initial; "Plan B. Nobody came." ends a sentence."""
    before, initials = match["before"] or "", match["initials"]
    is_alone = initials.count(".") == 1
    starts_sentence = _starts_sentence(match["next"])
    is_name = before and before.strip() not in _LABELS and initials[0] not in "XZ"
    if is_alone and (not is_name or starts_sentence):
        return match[0]
    return before + _letters(initials) + (". " if starts_sentence else " ") + match["next"]


def _dotted(match: re.Match[str], reading: Reading) -> str:
    rest = match.string[match.end() : match.end() + _NEXT_CHARACTERS]
    is_end = match[0].endswith(".") and _starts_sentence(rest)
    joint = " " if rest[:1].isalpha() else ""  # "E.E.Cummings"
    return _letters(match[0]) + ("." if is_end else "") + joint


def _small_next(match: re.Match[str], reading: Reading) -> str:
    """ "E. coli" loses a dot; "we used plan B. it worked." does not, though written small."""
    before, following = match["before"] or "", match["next"].capitalize()
    is_end = before.strip().capitalize() in _LABELS or following in _SENTENCE_STARTERS
    is_joined = match["next"] in ("and", "or")  # "J. and K."
    return f"{before}{match['letter']}{'.' if is_end and not is_joined else ''} {match['next']}"


_STREETS = "St|Ave?|Rd|Blvd|Dr|Ln|Hwy|Street|Avenue|Road|Boulevard|Drive|Lane|Way|Highway|Court"
RULES: tuple[Rule, ...] = (
    rule(
        rf"\b[NSEW]\. (?=(?:[A-Z][a-z]{{1,20}}|\d{{1,3}}(?:st|nd|rd|th)) (?:{_STREETS})\b)",
        lambda m, _: _DIRECTIONS[m[0][0]] + " ",
    ),
    replacement(r"(?<=\w) v\. (?=[A-Z])", " versus "),
    rule(
        r"(?<![\w.'-])(?P<before>[A-Z][\w'-]{0,40} |by )?(?P<initials>(?:[A-Z]\. ?){1,8})"
        r"(?<= )(?P<next>[A-Z][A-Za-z'-]+)",
        _of_name,
    ),
    rule(r"(?<![\w./])(?:(?:[A-Za-z]\.){2,}(?!\w\b)|(?:[A-Z]\.)+[A-Z](?![\w.]))", _dotted),
    rule(
        r"(?<![\w.'-])(?P<before>[A-Za-z][\w'-]{0,40} )?(?<![\w.'-])(?P<letter>[A-HJ-Z])\. "
        r"(?P<next>[a-z][\w']*)",
        _small_next,
    ),
)
