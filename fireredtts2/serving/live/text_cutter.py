"""Text as a language model writes it, cut into pieces that can be spoken before it is whole.

Where it is cut depends on the text alone, not on how it came in: what a rule needs to see behind a
place is waited for.
"""

from __future__ import annotations

import re

#: A turn's first piece may end at a comma after so many words, or else after so many more.
FIRST_CLAUSE_WORDS = 4
FIRST_WORDS = 12
#: Shorter sentences go with the next one; a turn's first may be shorter.
MIN_WORDS, MIN_FIRST_WORDS = 3, 2
#: Longer sentences are cut at a comma, and then at a word.
LONG_CHARACTERS, MAX_CHARACTERS = 250, 400
#: Without any place to cut, it is cut here: nothing may grow without bound.
MAX_RUN_CHARACTERS = 1_600

_ABBREVIATIONS = frozenset(
    [
        "dr",
        "mr",
        "mrs",
        "ms",
        "prof",
        "rev",
        "hon",
        "st",
        "sr",
        "jr",
        "mt",
        "ft",
        "gen",
        "col",
        "capt",
        "lt",
        "sgt",
        "maj",
        "sen",
        "rep",
        "gov",
        "pres",
        "vs",
        "etc",
        "inc",
        "ltd",
        "co",
        "corp",
        "dept",
        "est",
        "approx",
        "fig",
        "no",
        "nos",
        "vol",
        "ch",
        "pp",
        "p",
        "ed",
        "eds",
        "al",
        "cf",
        "ca",
        "apt",
        "ave",
        "blvd",
        "rd",
        "hwy",
        "jan",
        "feb",
        "mar",
        "apr",
        "jun",
        "jul",
        "aug",
        "sep",
        "sept",
        "oct",
        "nov",
        "dec",
        "mon",
        "tue",
        "tues",
        "wed",
        "thu",
        "thurs",
        "fri",
        "sat",
        "sun",
        "ext",
        "tel",
        "max",
        "min",
        "messrs",
        "bros",
        "univ",
        "assn",
        "incl",
        "excl",
        "ph.d",
    ]
)
_CJK = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7a3"
_CLOSERS = "\"')\\]}»”’」』"
_BOUNDARY = re.compile(
    rf"(?P<line>\n)|(?P<end>[.!?…。！？]+[{_CLOSERS}]*)|(?P<clause>[,;:—，、；：]+[{_CLOSERS}]*)|\s"
)
_NEEDS_NO_SPACE = re.compile("[。！？，、；：—]")
_WORD = re.compile(rf"[{_CJK}]|[^\W_{_CJK}]+(?:['’.\-][^\W_{_CJK}]+)*")
_ADDRESS = re.compile(r"[@/]|\w\.\w")
_OPENERS = "([{\"'“‘«"
_LETTER = re.compile(r"[^\W_]")
_INITIALS = re.compile(r"(?:\w\.)*\w")
#: Nothing is cut behind these, where a word's end is all there is.
_CLINGING = frozenset(
    [
        "a",
        "an",
        "the",
        "of",
        "to",
        "in",
        "on",
        "at",
        "by",
        "for",
        "with",
        "from",
        "and",
        "or",
        "as",
        "my",
        "your",
        "his",
        "her",
        "its",
    ]
)


class TextCutter:
    """Cuts one turn's text; what goes in comes out once and in order, whitespace too.

    Example:
        >>> cutter = TextCutter()
        >>> cutter.push("Hello there, Dr. Smith. It is 3.14 wh")
        ['Hello there, Dr. Smith.']
        >>> cutter.flush()
        [' It is 3.14 wh']
    """

    def __init__(self) -> None:
        self._text = ""
        self._is_first = True
        self._num_seen = 0  # characters at whose marks it was decided that they end nothing

    @property
    def num_waiting(self) -> int:
        """Characters that have not come out yet."""
        return len(self._text)

    def push(self, text: str) -> list[str]:
        """Adds text; gives the pieces that can be spoken now."""
        self._text += text
        pieces = []
        while (end := self._next_end()) is not None:
            pieces.append(self._take(end))
        return pieces

    def pause(self) -> list[str]:
        """Nothing came for a while: gives what can be said of the rest, up to a word's end.

        The last word may go on ("hel", "lo") unless a space or a sentence's end is behind it.
        """
        end = _last_safe_end(self._text)
        return [self._take(end)] if end and is_speakable(self._text[:end]) else []

    def flush(self) -> list[str]:
        """Gives all that is left."""
        return [self._take(len(self._text))] if self._text else []

    def _take(self, end: int) -> str:
        piece, self._text = self._text[:end], self._text[end:]
        self._num_seen = 0
        self._is_first = self._is_first and not is_speakable(piece)
        return piece

    def _next_end(self) -> int | None:
        """Where the next piece ends; None where that cannot be said yet."""
        seen = self._text[: MAX_RUN_CHARACTERS + 1]
        for found in _BOUNDARY.finditer(seen, self._num_seen):
            end = found.end()
            if end == len(seen) and not found["line"] and not found[0].isspace():
                break  # more of it may come
            if end <= MAX_RUN_CHARACTERS and self._ends_piece(seen, found):
                return end
            self._num_seen = end
        return MAX_RUN_CHARACTERS if len(self._text) > MAX_RUN_CHARACTERS else None

    def _ends_piece(self, seen: str, found: re.Match[str]) -> bool:
        piece = seen[: found.end()]
        if not is_speakable(piece):
            return False
        if found["line"]:
            return True
        if found["end"]:
            return _ends_sentence(seen, found) and num_words(piece) >= self._min_words
        if found["clause"]:
            return _is_open(seen, found) and (
                len(piece) > LONG_CHARACTERS
                or (self._is_first and num_words(piece) >= FIRST_CLAUSE_WORDS)
            )
        return self._may_end_at_word(piece)

    def _may_end_at_word(self, piece: str) -> bool:
        if len(piece) > MAX_CHARACTERS:
            return not _is_abbreviation(piece.rstrip())
        is_due = self._is_first and num_words(piece) >= FIRST_WORDS
        return is_due and not _clings(piece.rstrip())

    @property
    def _min_words(self) -> int:
        return MIN_FIRST_WORDS if self._is_first else MIN_WORDS


def is_speakable(text: str) -> bool:
    """Whether there is a letter or digit in it."""
    return _LETTER.search(text) is not None


def num_words(text: str) -> int:
    """Words; of Chinese, Japanese and Korean, characters."""
    return len(_WORD.findall(text))


def _is_open(seen: str, found: re.Match[str]) -> bool:
    """Whether a space follows, or the mark needs none: "1,000" and "5:30" go on."""
    return bool(_NEEDS_NO_SPACE.search(found[0])) or seen[found.end()].isspace()


def _ends_sentence(seen: str, found: re.Match[str]) -> bool:
    if not _is_open(seen, found):
        return False  # within a number, an address, a name of a file
    return not (found[0].startswith(".") and _is_abbreviation(seen[: found.start() + 1]))


def _is_abbreviation(text: str) -> bool:
    """Whether the last word has its dot for another reason than a sentence's end."""
    if not text.endswith("."):
        return False
    word = text[:-1].rsplit(maxsplit=1)[-1].lstrip(_OPENERS) if text[:-1].strip() else ""
    return word.lower() in _ABBREVIATIONS or bool(_INITIALS.fullmatch(word) and not word.isdigit())


def _clings(text: str) -> bool:
    """Whether the last word belongs with the next: an abbreviation, a number, "the"."""
    word = text.rsplit(maxsplit=1)[-1]
    return _is_abbreviation(text) or word[-1].isdigit() or word.lower() in _CLINGING


def _may_go_on(text: str) -> bool:
    """Whether a dot behind the last word may be within it: "3." of "3.14", an address."""
    word = text.rsplit(maxsplit=1)[-1] if text.strip() else ""
    return word[-1:].isdigit() or _ADDRESS.search(word) is not None


def _last_safe_end(text: str) -> int:
    """The last place behind which no word, number or abbreviation goes on."""
    for found in reversed(list(_BOUNDARY.finditer(text))):
        end = found.end()
        before = text[: found.start() + 1] if found["end"] else text[: found.start()]
        at_end = end == len(text)
        if found["line"] or _NEEDS_NO_SPACE.search(found[0]):
            return end
        if found["end"]:
            followed = text[end].isspace() if not at_end else not _may_go_on(text[: found.start()])
            if followed and not _is_abbreviation(before):
                return end
        elif found["clause"]:
            if not at_end and text[end].isspace():
                return end
        elif before.strip() and not _clings(before.rstrip()):
            return end
    return 0
