"""What happens to a text before the tokenizer: as the checkpoint at hand has learnt it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fireredtts2.normalize import normalize
from fireredtts2.pronunciation import Pronouncer
from fireredtts2.text import check_speakable, shown

if TYPE_CHECKING:
    from fireredtts2.checkpoint import CheckpointFolder


@dataclass(frozen=True)
class TextFrontend:
    """Prepares a text for the tokenizer.

    Attributes:
        normalizes: whether numbers, dates and the like become words.
        pronouncer: turns words into units of speech; None for a model that reads letters.

    Example:
        frontend = TextFrontend.from_checkpoint(CheckpointFolder("mini"))
        frontend("It's 5:30.")  # units of "It's five thirty."
    """

    normalizes: bool = False
    pronouncer: Pronouncer | None = None

    @classmethod
    def plain(cls) -> TextFrontend:
        """Text goes in as typed, which is what the published model learnt."""
        return cls()

    @classmethod
    def from_checkpoint(cls, folder: CheckpointFolder) -> TextFrontend:
        """As `config_text.json` of the folder says; without it, plain.

        Raises:
            ValueError: the configuration or the pronunciations it names cannot be read.
        """
        path = folder.pronunciations_path
        pronouncer = None if path is None else Pronouncer.from_file(path)
        return cls(folder.text_config.normalize, pronouncer)

    def __call__(self, text: str) -> str:
        return self.prepare(text)

    @property
    def reads_units(self) -> bool:
        """Whether it gives units of speech, for which it reads dashes, brackets and quotes."""
        return self.pronouncer is not None

    def prepare(self, text: str) -> str:
        """Words, then units.

        Raises:
            ValueError: there is nothing to say in it.
        """
        words = self.words(text)
        if self.pronouncer is None:
            return words
        units = self.pronouncer.to_units(words)
        if not any(unit.isalpha() for unit in units):
            raise ValueError(f"nothing to say in {shown(text)}: no word of English letters in it")
        return units

    def words(self, text: str) -> str:
        """The text with numbers and signs as words, where the checkpoint wants that.

        A long text is made words before it is cut, because cutting looks at its punctuation: the
        colon of "5:30" is one before and none after. Doing it twice changes nothing.

        Raises:
            ValueError: there is nothing to say in it.
        """
        check_speakable(text)
        return normalize(text) if self.normalizes else text
