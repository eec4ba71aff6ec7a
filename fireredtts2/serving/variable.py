"""The text of an environment variable as a value of a type."""

from __future__ import annotations

import re
import types
import typing
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

SEPARATORS = re.compile(r"[,\s]+")
TRUE_WORDS, FALSE_WORDS = ("1", "true", "yes", "on"), ("0", "false", "no", "off")


def parsed(name: str, text: str, kind: Any) -> Any:
    """A variable's text as a value of a type.

    Raises:
        ValueError: it is not of that type.
    """
    kind, text = without_none(kind), text.strip()
    if get_origin(kind) is Literal:
        return _choice(name, text, get_args(kind))
    if get_origin(kind) is tuple:
        return split(text)
    if kind is bool:
        return _choice(name, text.lower(), TRUE_WORDS + FALSE_WORDS) in TRUE_WORDS
    if kind is Path:
        return Path(text).expanduser()
    if kind in (int, float):
        return _number(name, text, kind)
    return text


def _number(name: str, text: str, kind: type[int] | type[float]) -> int | float:
    try:
        return kind(text)
    except ValueError:
        wanted = "a whole number" if kind is int else "a number"
        hint = ""
        if "://" in text:  # as "tcp://10.0.0.1:80"
            hint = "; Kubernetes sets it for a Service: put enableServiceLinks: false in the pod"
        raise ValueError(f"{name}={text!r}: must be {wanted}{hint}") from None


def _choice(name: str, text: str, allowed: tuple[str, ...]) -> str:
    if text not in allowed:
        raise ValueError(f"{name}={text!r}; allowed: {', '.join(allowed)}")
    return text


def without_none(kind: Any) -> Any:
    """`X` of `X | None`."""
    if get_origin(kind) not in (types.UnionType, typing.Union):
        return kind
    rest = [part for part in get_args(kind) if part is not types.NoneType]
    return rest[0] if len(rest) == 1 else kind


def split(text: str) -> tuple[str, ...]:
    """Parts separated by commas, spaces or lines."""
    return tuple(part for part in SEPARATORS.split(text) if part)
