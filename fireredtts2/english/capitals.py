"""Whether capitals are shouted words or abbreviations."""

from __future__ import annotations

import re

MAX_ACRONYM_LETTERS = 5

_LONG_WORD = re.compile(rf"\b[A-Z]{{{MAX_ACRONYM_LETTERS + 1},}}\b")
_NEIGHBOURS = re.compile(r"\b[A-Z]{2,}(?:'[A-Z]+)?[\"'.!?:;]*\s+[\"']?[A-Z]{2,}\b")


def may_be_shouted(text: str) -> bool:
    """Whether capitals of `text` may be words; a list such as "ASAP, FYI, DIY" is none."""
    return bool(_LONG_WORD.search(text) or _NEIGHBOURS.search(text))
