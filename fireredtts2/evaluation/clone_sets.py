"""Sets read from disk: texts to be spoken in the voice of a prompt, in three layouts."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal, get_args

SetKind = Literal["seed-tts-eval", "librispeech", "jsonl"]
SET_KINDS: tuple[SetKind, ...] = get_args(SetKind)
NAME_DIGITS = 16


@dataclass(frozen=True)
class CloneItem:
    """A text and the recording whose voice is to speak it.

    Attributes:
        id: Letters, digits, `_`, `-`, `.`; its own within a set.
        reference: A recording of the same text by the same speaker, where there is one.
    """

    id: str
    text: str
    prompt: Path
    prompt_text: str
    reference: Path | None = None

    @cached_property
    def voice_name(self) -> str:
        """Names the prompt by what it is: another recording or transcript has another name."""
        digest = hashlib.sha256(self.prompt.read_bytes())
        digest.update(self.prompt_text.encode("utf-8"))
        return f"prompt-{digest.hexdigest()[:NAME_DIGITS]}"


@dataclass(frozen=True)
class SetSource:
    """Which set, "KIND:PATH", and whether the decoder is adapted to each prompt's voice.

    Example:
        >>> SetSource.parse("seed-tts-eval:seedtts_testset/en").part_name
        'seed-tts-eval-en'
    """

    kind: SetKind
    path: Path
    adapt: bool = False

    @classmethod
    def parse(cls, text: str, adapt: bool = False) -> SetSource:
        """Reads "KIND:PATH".

        Raises:
            ValueError: no such kind, or no path.
        """
        kind, _, path = text.partition(":")
        if kind not in SET_KINDS or not path:
            allowed = ", ".join(f"{known}:PATH" for known in SET_KINDS)
            raise ValueError(f"set {text!r}; allowed: {allowed}")
        return cls(kind, Path(path).expanduser(), adapt)

    @property
    def part_name(self) -> str:
        """Names the part in the report: the kind and the set's file or folder."""
        name = self.path.resolve().stem if self.kind == "jsonl" else self.path.resolve().name
        if name == "meta.lst":
            name = self.path.resolve().parent.name
        plain = re.sub(r"[^\w.-]+", "-", name)
        named = plain if plain == self.kind else f"{self.kind}-{plain}"
        return f"{named}-adapted" if self.adapt else named


def check_ids(items: Sequence[CloneItem], path: Path) -> None:
    """Raises ValueError where there is no item, or two have one id."""
    if not items:
        raise ValueError(f"{path}: no item in this set")
    seen: set[str] = set()
    for item in items:
        if item.id in seen:
            raise ValueError(f"{path}: the id {item.id!r} comes twice")
        seen.add(item.id)
