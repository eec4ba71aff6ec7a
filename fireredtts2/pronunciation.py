"""English text to sounds: a dictionary, rules for what it lacks, letters for the rest.

The result is text again, one character a unit (`fireredtts2.phonemes`), so that a model reads it
through an ordinary tokenizer: words stay apart by spaces and punctuation stays where it was.
"""

from __future__ import annotations

import functools
import gzip
import random
import re
from dataclasses import dataclass
from pathlib import Path

from fireredtts2 import punctuation
from fireredtts2.english import heteronyms, initials, morphology
from fireredtts2.english.capitals import MAX_ACRONYM_LETTERS, may_be_shouted
from fireredtts2.english.number_words import AMERICAN
from fireredtts2.english.rules import apply
from fireredtts2.english.word_sets import word_set
from fireredtts2.phonemes import from_arpabet

MAX_DERIVATION_DEPTH = 2  # "un" + "help" + "ful" + "ly"
MIN_SHOUTED_WORDS = 3
MAX_WORD_LETTERS = 45  # longer runs of letters are no words
CACHED_WORDS = 20_000

_TOKEN = re.compile(r"\'?[a-zA-Z]+(?:[\'-][a-zA-Z]+)*\'?|[^a-zA-Z\']+")
_HUMPS = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")
_LETTER_A = from_arpabet("EY1")

#: Said short in a sentence, where the dictionary gives the full form of a list.
_WEAK_FORMS = {
    word: from_arpabet(phones)
    for word, phones in {
        "a": "AH0", "an": "AH0 N", "and": "AH0 N D", "as": "AH0 Z", "at": "AE0 T", "for": "F ER0",
        "in": "IH0 N", "is": "IH0 Z", "it": "IH0 T", "of": "AH0 V", "or": "ER0", "than": "DH AH0 N",
    }.items()
}  # fmt: skip

#: "A is for apple", "A and B".
_AFTER_LETTER = word_set("is was are and or to equals means")

#: What stands between an article and its word: "A \"smart\" phone", "A (small) dog".
_BEFORE_NOUN = (" ", ' "', " '", " (")

#: In capitals these are letters, though they are words when small.
_SPELT_CAPITALS = word_set("AD AI AM CO CT ER EST ET EU ID IT LA MT UK UN US")


@dataclass
class _Word:
    text: str
    units: str = ""


class Pronouncer:
    """Turns English text into units.

    Example:
        pronouncer = Pronouncer.from_file("pronunciations.txt.gz")
        pronouncer.to_units("Hello, world!")  # "HəLÔ, WƐRLD!"
    """

    def __init__(self, dictionary: dict[str, str]) -> None:
        """Takes units by lowercase word."""
        self._dictionary = dictionary
        self._find = functools.lru_cache(CACHED_WORDS)(self._find_or_derive)

    @classmethod
    def from_file(cls, path: str | Path) -> Pronouncer:
        """Reads lines of "word units" from a gzipped UTF-8 file; lines with "#" are remarks.

        Raises:
            ValueError: the file is missing or is not such a file.
        """
        try:
            text = gzip.decompress(Path(path).read_bytes()).decode("utf-8")
        except (OSError, EOFError, UnicodeDecodeError) as error:
            raise ValueError(f"{path}: cannot read pronunciations ({error})") from None
        lines = [line for line in text.splitlines() if line[:1] != "#"]
        fields = " ".join(lines).split(" ")
        if not lines or len(fields) != 2 * len(lines):
            raise ValueError(f"{path}: expected lines of a word, one space and its units")
        return cls(dict(zip(fields[::2], fields[1::2], strict=True)))

    def to_units(
        self, text: str, spell_probability: float = 0.0, rng: random.Random | None = None
    ) -> str:
        """Turns text into units.

        Args:
            text: English, numbers already as words; what cannot be said is left out.
            spell_probability: chance that a word is given by its letters, for training a model
                that can read words it has no pronunciation for.
            rng: where that chance is drawn from; needed if it is above 0.

        Returns:
            Units of `fireredtts2.phonemes.UNITS`; "" if nothing can be said.

        Raises:
            ValueError: a chance without `rng`.
        """
        folded = apply(initials.RULES, punctuation.fold(text), AMERICAN)
        tokens = _tokens(folded)
        words = [token for token in tokens if isinstance(token, _Word)]
        is_shouted = _is_shouted(words) and may_be_shouted(folded)
        for word in words:
            word.units = self._units_of(word.text, is_shouted)
        if not is_shouted:
            _choose_letters(tokens)
        self._choose_heteronyms(tokens)
        if spell_probability > 0:
            _spell_some(words, spell_probability, rng)
        return punctuation.tidy("".join(t.units if isinstance(t, _Word) else t for t in tokens))

    def knows(self, word: str) -> bool:
        """Whether a word has a pronunciation, from the dictionary or by rule."""
        return self._find(word.lower()) is not None

    def spell_out(self, letters: str) -> str:
        """Units of the names of letters, for acronyms: "FBI" is "eff bee eye"."""
        return " ".join(
            _LETTER_A if letter == "a" else self._dictionary.get(letter, letter)
            for letter in letters.lower()
            if letter.isalpha()
        )

    def _units_of(self, text: str, is_shouted: bool) -> str:
        bare = text.strip("'")
        if "-" in bare:
            return self._hyphened(bare.split("-"), is_shouted)
        if not is_shouted and (spelt := self._acronym(bare)):
            return spelt
        whole = self._find(text.lower()) or self._find(bare.lower())
        if whole:
            return whole
        humps = _HUMPS.findall(bare)
        if not is_shouted and len(humps) > 1 and "'" not in bare:  # "iPhone", "GitHub"
            return " ".join(self._units_of(hump, False) for hump in humps)
        return letters_for(bare)

    def _acronym(self, text: str) -> str | None:
        """Units of a word in capitals, perhaps with a small s, if it is said letter by letter."""
        if text in _SPELT_CAPITALS:
            return self.spell_out(text)
        if len(text) <= MAX_ACRONYM_LETTERS and not re.search("[aeiouy']", text, re.IGNORECASE):
            return None if text.lower() in self._dictionary else self.spell_out(text)  # "pdf"
        capitals = re.sub(r"'?s$", "", text)
        if len(capitals) < 2 or not capitals.isalpha() or not capitals.isupper():
            return None
        is_word = capitals.lower() in self._dictionary and capitals not in _SPELT_CAPITALS
        if is_word or len(capitals) > MAX_ACRONYM_LETTERS:
            return None
        spelt = self.spell_out(capitals)
        return morphology.add_s(spelt) if capitals != text else spelt

    def _hyphened(self, parts: list[str], is_shouted: bool) -> str:
        """Parts with a space between, but a prefix belongs to its word: "re-enter"."""
        sounds = [
            morphology.PREFIXES.get(part.lower()) or self._part(part, is_shouted) + " "
            for part in parts[:-1]
        ]
        return "".join([*sounds, self._part(parts[-1], is_shouted)])

    def _part(self, part: str, is_shouted: bool) -> str:
        """Of a word with hyphens; "A-list" has a letter, no article."""
        return _LETTER_A if part == "A" and not is_shouted else self._units_of(part, is_shouted)

    def _find_or_derive(self, word: str, depth: int = 0) -> str | None:
        units = _WEAK_FORMS.get(word) or self._dictionary.get(word)
        is_derivable = morphology.MIN_STEM_LETTERS <= len(word) <= MAX_WORD_LETTERS
        if units or depth > MAX_DERIVATION_DEPTH or not is_derivable:
            return units
        return morphology.derive(
            word, lambda simpler: self._find(simpler, depth + 1), self._dictionary.get
        )

    def _choose_heteronyms(self, tokens: list[_Word | str]) -> None:
        # NOTE: from the end, so that the units of the next word are final.
        beside = [token for token in tokens if isinstance(token, _Word) or not token.isspace()]
        for index in reversed(range(len(beside))):
            word = beside[index]
            if isinstance(word, _Word):
                name = word.text.lower().strip("'")
                word.units = heteronyms.choose(name, _beside(beside, index)) or word.units


def letters_for(word: str) -> str:
    """Spells a word by its own letters: "Zoë" gives "zoe", "well-known" gives "well known"."""
    folded = punctuation.fold(word).lower()
    return " ".join("".join(c if c in _SPELT_MARKS else " " for c in folded).split())


_SPELT_MARKS = frozenset("abcdefghijklmnopqrstuvwxyz'")


def _tokens(text: str) -> list[_Word | str]:
    found = _TOKEN.findall(text)
    return [_Word(token) if any(c.isalpha() for c in token) else token for token in found]


def _is_shouted(words: list[_Word]) -> bool:
    """Whether most of a text is in capitals, so that capitals do not mean acronyms."""
    capitals = [word for word in words if len(word.text) > 1 and word.text.isupper()]
    return len(capitals) >= MIN_SHOUTED_WORDS and len(capitals) > len(words) / 2


def _choose_letters(tokens: list[_Word | str]) -> None:
    """Makes each "A" that is no article the name of the letter."""
    padded = ["", *tokens, "", ""]
    for before, token, gap, after in zip(padded, tokens, padded[2:], padded[3:], strict=False):
        if not isinstance(token, _Word) or token.text != "A":
            continue
        if not _is_article(before, gap, after):
            token.units = _LETTER_A


def _is_article(before: _Word | str, gap: _Word | str, after: _Word | str) -> bool:
    """Whether an "A" starts a sentence or a quotation and has a word to belong to."""
    if gap not in _BEFORE_NOUN or not isinstance(after, _Word) or after.text in _AFTER_LETTER:
        return False
    is_initial = len(after.text) == 1 and after.text.isupper()
    return not is_initial and (isinstance(before, _Word) or not before.isspace())


def _spell_some(words: list[_Word], probability: float, rng: random.Random | None) -> None:
    if rng is None:
        raise ValueError("spell_probability above 0 needs rng, the source of chance")
    for word in words:
        if rng.random() < probability:
            word.units = letters_for(word.text.strip("'"))


def _beside(tokens: list[_Word | str], index: int) -> heteronyms.Beside:
    before, after = _word_at(tokens, index - 1), _word_at(tokens, index + 1)
    earlier = _word_at(tokens, index - 2) if before.text else before
    earlier_text, before_text, after_text = (w.text.lower() for w in (earlier, before, after))
    return heteronyms.Beside(earlier_text, before_text, after_text, after.units)


def _word_at(tokens: list[_Word | str], index: int) -> _Word:
    token = tokens[index] if 0 <= index < len(tokens) else None
    return token if isinstance(token, _Word) else _Word("")
