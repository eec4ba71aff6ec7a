"""A script as it was written, to lines ready to be spoken."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from fireredtts2.config import MONOLOGUE_SPLIT_BYTES
from fireredtts2.narration.narrator import Line
from fireredtts2.narration.prompter import speaker_name, split_tag
from fireredtts2.script import INNER_TAG, SPEAKERS, ScriptTurn
from fireredtts2.text import check_speakable, process_text_list, shown, split_text
from fireredtts2.text_frontend import TextFrontend

#: A sentence of a dialogue beyond this is cut too, though the published helper leaves it whole.
MAX_SENTENCE_BYTES = 2 * MONOLOGUE_SPLIT_BYTES


@dataclass(frozen=True)
class Typesetter:
    """Cuts what was written into pieces, and prepares each for the model.

    Attributes:
        frontend: text as written to text as the model reads it.
        piece_bytes: longest piece; where not given, by the published rules.
    """

    frontend: TextFrontend
    piece_bytes: int | None = None

    def dialogue(self, script: Iterable[str | ScriptTurn]) -> list[Line]:
        """Turns of a dialogue: tagged strings, or turns of a script file.

        Raises:
            ValueError: no turns, an unknown or missing tag, or a turn without words.
        """
        if isinstance(script, str):
            raise ValueError(
                'a script is a list of turns, each a string like "[S1]Hello."; one string was given'
            )
        lines = [self._turn(turn) for turn in script]
        if not lines:
            raise ValueError('the script has no turns; give at least one, like "[S1]Hello."')
        return lines

    def monologue(self, text: str) -> Line:
        """One speaker's text, split where it is long.

        Raises:
            ValueError: there are no words in it.
        """
        pieces = self._split(self._words(text))
        return Line(SPEAKERS[0], text, self._prepared(pieces, text))

    def single(self, speaker: str, text: str) -> Line:
        """One turn, never cut."""
        return Line(speaker_name(speaker), text, [self.frontend.prepare(self._words(text))])

    def _turn(self, turn: str | ScriptTurn) -> Line:
        if not isinstance(turn, str | ScriptTurn):
            raise ValueError(f'a turn is a string like "[S1]Hello.", not {type(turn).__name__}')
        if isinstance(turn, str):
            process_text_list([turn])  # the tag is checked as it stands
            turn = ScriptTurn(*split_tag(turn))
        tag = f"[{speaker_name(turn.speaker)}]"
        pieces = [
            short
            for piece in process_text_list([tag + self._words(turn.text)])
            for short in self._shortened(piece.removeprefix(tag))
        ]
        prepared = self._prepared(pieces, turn.text)
        return Line(speaker_name(turn.speaker), turn.text, prepared, turn.pause_s)

    def _words(self, text: str) -> str:
        words = self.frontend.words(text)
        if (inner := INNER_TAG.search(text)) is not None:
            raise ValueError(
                f"a second speaker tag, {inner[0]}, within {shown(text)}: the model would change "
                "its voice there; make it a turn of its own"
            )
        return words

    def _shortened(self, piece: str) -> list[str]:
        if len(piece.encode()) <= (self.piece_bytes or MAX_SENTENCE_BYTES):
            return [piece]
        return self._split(piece)

    def _split(self, words: str) -> list[str]:
        # NOTE: the published cleaning takes dashes away, and the words beside them become one.
        return split_text(
            words,
            self.piece_bytes or MONOLOGUE_SPLIT_BYTES,
            keeps_symbols=self.frontend.reads_units,
        )

    def _prepared(self, pieces: Iterable[str], text: str) -> list[str]:
        """Pieces with something to say in them, as the model reads them."""
        prepared = [self.frontend.prepare(piece) for piece in pieces if _is_speakable(piece)]
        if not prepared:
            raise ValueError(f"nothing to say in {shown(text)}")
        return prepared


def _is_speakable(piece: str) -> bool:
    try:
        check_speakable(piece)
    except ValueError:
        return False
    return True
