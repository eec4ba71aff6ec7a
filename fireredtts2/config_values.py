"""JSON objects to frozen dataclasses: every fault is named with its place and what is allowed."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

Config = TypeVar("Config")


def build_config(kind: type[Config], values: object, where: str) -> Config:
    """Builds a config.

    Args:
        kind: a dataclass whose fields are whole numbers (1 or above), finite numbers, booleans,
            strings, mappings or other configs.
        values: an object as JSON gives it.
        where: its place, for messages.

    Raises:
        ValueError: names every unknown and missing key, or the value that is of no use.
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"{where}: {values!r} given; expected an object {{...}}")
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(str(key) for key in set(values) - set(fields))
    required = {
        name
        for name, f in fields.items()
        if f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
    }
    missing = sorted(required - set(values))
    if unknown or missing:
        raise ValueError(
            f"{where}: unknown keys {unknown}, missing keys {missing}; known: {sorted(fields)}"
        )
    hints = get_type_hints(kind)
    for name, value in values.items():
        if (allowed := _fault(value, hints[name])) is not None:
            raise ValueError(f"{where}.{name}: {value!r} given; expected {allowed}")
    try:
        return kind(**values)
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from None


def read_config(path: str | Path, section: str, build: Callable[[Mapping], Config]) -> Config:
    """Builds a config from one top-level object of a JSON file.

    Raises:
        ValueError: names the file and what is wrong in it.
    """
    values = read_section(path, section)
    try:
        return build(values)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def _fault(value: object, hint: Any) -> str | None:
    """What is allowed, where the value is not."""
    if get_origin(hint) is UnionType:
        faults = [_fault(value, option) for option in get_args(hint)]
        return None if None in faults else " or ".join(fault for fault in faults if fault)
    if hint is type(None):
        return None if value is None else "null"
    if hint is int:
        is_whole = isinstance(value, int) and not isinstance(value, bool)
        return None if is_whole and value >= 1 else "a whole number, 1 or above"  # type: ignore
    if hint is float:
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return None if is_number and math.isfinite(value) else "a finite number"  # type: ignore
    if hint is bool:
        return None if isinstance(value, bool) else "true or false"
    if hint is str:
        return None if isinstance(value, str) and value else "a text"
    kind = get_origin(hint) or hint
    return None if isinstance(value, kind) else "an object {...}"


def read_section(path: str | Path, section: str) -> Mapping[str, Any]:
    """Reads one top-level object of a JSON file.

    Raises:
        ValueError: no such file, not JSON, or without that object.
    """
    try:
        values = json.loads(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{path}: no such file") from None
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError(f"{path}: not valid JSON ({error})") from None
    if not isinstance(values, dict) or not isinstance(values.get(section), dict):
        raise ValueError(f'{path}: expected an object {{"{section}": {{...}}}}')
    return values[section]
