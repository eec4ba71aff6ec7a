"""Judges texts: whether a checkpoint's language model can read them, and how long they are."""

from __future__ import annotations

import json

from tokenizers import Tokenizer

from fireredtts2.checkpoint import CheckpointFolder
from fireredtts2.llm.tokenizer import TOKENIZER_FILE
from fireredtts2.pronunciation import letters_for
from fireredtts2.script import INNER_TAG
from fireredtts2.training.finetune.material import END_ROWS, TextReader
from fireredtts2.training.prepare import checks
from fireredtts2.training.prepare.checks import Limits, Reason, RefusedError

SHOWN_CHARACTERS = 5


class TextJudge:
    """Refuses texts that a checkpoint's language model cannot read."""

    def __init__(self, folder: CheckpointFolder, limits: Limits) -> None:
        self._reader, self._limits = TextReader(folder), limits
        path = folder.tokenizer_path / TOKENIZER_FILE
        unknown = json.loads(path.read_text("utf-8"))["model"].get("unk_token")
        # NOTE: its own, since a plain encode tells which characters were known at all.
        self._tokenizer = Tokenizer.from_file(str(path))
        self._unknown = None if unknown is None else self._tokenizer.token_to_id(unknown)
        self._known: dict[str, bool] = {}

    def num_rows(self, text: str, language: str) -> int:
        """Rows that a text takes.

        Raises:
            RefusedError: empty, with a speaker tag in it, of another script, or not readable.
        """
        if not checks.count_spoken(text):
            raise RefusedError(Reason.EMPTY_TEXT, "no letter or digit in it")
        if (tag := INNER_TAG.search(text)) is not None:  # inference refuses it too
            raise RefusedError(
                Reason.SPEAKER_TAG, f"{tag[0]} within the text; a turn has one speaker"
            )
        checks.check_script(text, language, self._limits)
        try:
            prepared = self._reader.frontend(text)
            ids = self._reader.ids(prepared)
        except ValueError as error:
            raise RefusedError(Reason.UNKNOWN_TEXT, str(error)) from None
        self._check_known(text, prepared)
        return len(ids) + END_ROWS

    def _check_known(self, text: str, prepared: str) -> None:
        """Refuses a text of which something would be lost in silence."""
        # NOTE: what reads units leaves out letters that it has none for.
        heard = self._reader.frontend.pronouncer is not None
        words = dict.fromkeys(self._reader.frontend.words(text))
        lost = [c for c in words if heard and c.isalpha() and not letters_for(c)]
        unknown = [c for c in dict.fromkeys(prepared) if not c.isspace() and not self._knows(c)]
        unknown += lost + ["\ufffd"] * ("\ufffd" in text)  # a byte that was no UTF-8
        if unknown:
            shown = " ".join(f"{c!r} (U+{ord(c):04X})" for c in unknown[:SHOWN_CHARACTERS])
            raise RefusedError(Reason.UNKNOWN_TEXT, f"the model cannot read {shown}")

    def _knows(self, character: str) -> bool:
        if character not in self._known:
            ids = self._tokenizer.encode(character, add_special_tokens=False).ids
            self._known[character] = bool(ids) and self._unknown not in ids
        return self._known[character]
