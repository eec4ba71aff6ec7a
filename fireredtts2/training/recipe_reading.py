"""Recipes: YAML in, frozen dataclasses out; every fault is named with its place."""

from __future__ import annotations

import dataclasses
import difflib
import math
import os
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from fireredtts2.training.finetune.extras import load_extra

Kind = TypeVar("Kind")


def read_as(kind: type[Kind], path: str | Path, changes: Sequence[str] = ()) -> Kind:
    """Reads a recipe.

    Args:
        kind: a dataclass whose fields are sections.
        path: a YAML file.
        changes: "section.key=value" each, which replace what the file says; values are YAML.

    Raises:
        ValueError: the file, or a key or value in it, is not right; says what is allowed.
    """
    yaml = load_extra("yaml")
    try:
        values = yaml.load(Path(path).read_text(encoding="utf-8"), _loader(yaml))
    except FileNotFoundError:
        raise ValueError(f"{path}: no such recipe") from None
    except IsADirectoryError:
        raise ValueError(f"{path}: a folder, not a recipe; expected a YAML file") from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"{path}: not valid YAML ({error})") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path}: expected sections with keys, got {type(values).__name__}")
    for change in changes:
        _apply(values, change, yaml)
    try:
        return build(kind, values)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def build(kind: type[Kind], values: object, where: str = "") -> Kind:
    """A dataclass from plain values.

    Args:
        kind: its fields are dataclasses, numbers, booleans, texts, literals, tuples or mappings.
        values: keys with values.
        where: the place, for messages.

    Raises:
        ValueError: names the place of the first fault, and what is allowed there.
    """
    if not isinstance(values, Mapping):
        raise ValueError(f"{where or 'recipe'}: {values!r} given; expected keys with values")
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for key in values:
        if key not in fields:
            raise ValueError(_unknown(where, str(key), list(fields)))
    for name, f in fields.items():
        no_default = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        if no_default and name not in values:
            raise ValueError(f"{_place(where, name)}: missing; it has no default")
    hints = get_type_hints(kind)
    return kind(**{k: _value(hints[k], v, _place(where, k)) for k, v in values.items()})


def check_ranges(recipe: Any, ranges: Mapping[str, tuple[float, float]]) -> None:
    """Raises ValueError for the first number of a recipe's sections that is out of range.

    Args:
        recipe: a dataclass of sections.
        ranges: (lowest, highest) by place; what is not here must be 0 or above.
    """
    for section in dataclasses.fields(recipe):
        values = getattr(recipe, section.name)
        if not dataclasses.is_dataclass(values):
            continue
        for name, value in vars(values).items():
            if isinstance(value, bool) or not isinstance(value, int | float):
                continue
            place = f"{section.name}.{name}"
            low, high = ranges.get(place, (0, math.inf))
            if not low <= value <= high:
                raise ValueError(f"{place}: {value} given; allowed: {low} to {high}")


def check_same(
    before: dict[str, Any], now: dict[str, Any], fixed: Sequence[str], may_move: Sequence[str] = ()
) -> None:
    """Raises ValueError naming the first key that a resumed recipe must not change.

    Args:
        before: plain values of the recipe that the run began with.
        now: those of the recipe that it is resumed with.
        fixed: sections, or single keys as "section.key".
        may_move: keys of files whose place does not matter, since a digest tells what they are.
    """
    for section, dot, only in (place.partition(".") for place in fixed):
        began, goes_on = (recipe[section] or {} for recipe in (before, now))
        for key in [only] if dot else list({**began, **goes_on}):
            old, new = began.get(key), goes_on.get(key)
            place = f"{section}.{key}"
            # What an earlier version did not know, and is off, changes nothing.
            is_new = key not in began and not new
            if old != new and not is_new and place not in may_move:
                raise ValueError(
                    f"{place}: the run began with {old!r}, the recipe now says {new!r}; a resumed "
                    "run keeps it. Choose another run.out for a new run"
                )


def _loader(yaml: types.ModuleType) -> type:
    """YAML's safe loader, but for keys that stand twice, of which it would keep the last."""

    class Loader(yaml.SafeLoader):  # type: ignore[name-defined]
        def construct_mapping(self, node: Any, deep: bool = False) -> Any:
            keys = [key.value for key, _ in node.value]
            for number, (key, _) in enumerate(node.value):
                if key.value in keys[:number]:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key.value!r} stands twice", key.start_mark
                    )
            return super().construct_mapping(node, deep)

    return Loader


def _apply(values: dict[str, Any], change: str, yaml: types.ModuleType) -> None:
    place, equals, text = change.partition("=")
    section, dot, key = place.strip().partition(".")
    if not (equals and dot and section and key):
        raise ValueError(f"--set {change!r}: expected section.key=value")
    if values.get(section) is None:  # not there, or without a key
        values[section] = {}
    inner = values[section]
    if not isinstance(inner, dict):
        raise ValueError(f"--set {change!r}: {section} is no section")
    try:
        inner[key] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"--set {change!r}: the value is not valid YAML ({error})") from None


def _unknown(where: str, key: str, known: list[str]) -> str:
    near = difflib.get_close_matches(key, known, n=3)
    advice = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known)}"
    return f"{_place(where, key)}: unknown key; {advice}"


def _place(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _value(hint: Any, value: Any, where: str) -> Any:
    """The value in the field's type, or ValueError."""
    if dataclasses.is_dataclass(hint):
        return build(hint, value, where)  # type: ignore[arg-type]
    origin = get_origin(hint)
    if origin is Literal:
        if value in get_args(hint):
            return value
        raise ValueError(f"{where}: {value!r} given; allowed: {', '.join(get_args(hint))}")
    if origin in (Union, types.UnionType):
        inner = next(option for option in get_args(hint) if option is not type(None))
        return None if value is None else _value(inner, value, where)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ValueError(f"{where}: {value!r} given; expected a list")
        return tuple(_value(get_args(hint)[0], item, where) for item in value)
    if origin is Mapping or (isinstance(origin, type) and issubclass(origin, Mapping)):
        if not isinstance(value, Mapping):
            raise ValueError(f"{where}: {value!r} given; expected keys with values")
        return value
    return _plain(hint, value, where)


def _plain(hint: type, value: Any, where: str) -> Any:
    if hint is float:
        # YAML reads 1e-4, without a point, as a text.
        try:
            number = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError):
            number = math.nan
        if math.isfinite(number):
            return number
        raise ValueError(f"{where}: {value!r} given; expected a finite number")
    is_right = isinstance(value, hint) and (hint is bool or not isinstance(value, bool))
    if is_right and value != "":
        # NOTE: no shell expands a home folder in YAML, nor behind `--set section.key=`.
        return os.path.expanduser(value) if hint is str and value.startswith("~/") else value
    names = {int: "a whole number", bool: "true or false", str: "a text"}
    raise ValueError(f"{where}: {value!r} given; expected {names[hint]}")
