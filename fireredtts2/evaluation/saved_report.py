"""A report read back from its folder."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fireredtts2.evaluation.report import HEARD_BY, PROMPT_NOTE, Row

REPORT_NAME = "report.json"


@dataclass(frozen=True)
class SavedReport:
    """A report as it was written.

    Attributes:
        folder: Where it lies; audio paths of rows begin there.
        about: What was measured.
        rows: Part name -> its rows.
        figures: The figures of all parts, as `Figure.as_json` writes them.
        notes: Part name -> what the reader should know.
    """

    folder: Path
    about: Row
    rows: Mapping[str, Sequence[Row]]
    figures: Sequence[Row]
    notes: Mapping[str, Sequence[str]]

    @classmethod
    def load(cls, folder: str | Path) -> SavedReport:
        """Reads `report.json` of a folder.

        Raises:
            ValueError: There is none, or it is none of this program's.
        """
        path = Path(folder) / REPORT_NAME
        if not path.is_file():
            raise ValueError(f"{folder}: no {REPORT_NAME} in this folder; it is not a report")
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            rows = {name: part["rows"] for name, part in values["parts"].items()}
            notes = {name: part["notes"] for name, part in values["parts"].items()}
            return cls(Path(folder), values["about"], rows, values["figures"], notes)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"{path}: not a report of this program ({error})") from error

    def recogniser(self, part: str) -> str:
        """Who heard the words of a part, as its notes say; "" where they do not."""
        return next((note for note in self.notes.get(part, ()) if note.startswith(HEARD_BY)), "")

    def prompt_voices(self, part: str) -> set[str]:
        """Voices of a part whose cosine is to their own prompts, as its notes say."""
        notes = [note for note in self.notes.get(part, ()) if note.startswith(PROMPT_NOTE)]
        return {name for n in notes for name in n[len(PROMPT_NOTE) :].rstrip(".").split(", ")}
