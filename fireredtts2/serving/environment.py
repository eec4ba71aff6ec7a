"""A server's settings from environment variables, the same for every way to deploy it.

Every field of `ServingConfig` has a variable: FIREREDTTS2_ and the field's name in capitals, or the
shorter name below. A field that is added gets its variable with it. An empty one is not set.
"""

from __future__ import annotations

import os
import typing
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from fireredtts2.serving.config import ServingConfig
from fireredtts2.serving.jobs.config import jobs_of
from fireredtts2.serving.limits import limits_of
from fireredtts2.serving.variable import parsed, split, without_none

PREFIX = "FIREREDTTS2_"
API_KEYS = f"{PREFIX}API_KEYS"
#: A file with the keys instead: what secrets are mounted as.
API_KEYS_FILE = f"{API_KEYS}_FILE"
SHORT_NAMES = {
    "num_slots": "SLOTS",
    "max_waiting": "QUEUE",
    "cors_origins": "CORS",
    "voices_path": "VOICES",
}


def serving_config(environ: Mapping[str, str] = os.environ, **given: Any) -> ServingConfig:
    """The settings that the environment names; those not named have their defaults.

    Args:
        environ: of the process.
        given: fields that are set here, whatever the environment says.

    Raises:
        ValueError: a variable's value is not allowed; names the variable.
    """
    kinds = typing.get_type_hints(ServingConfig)
    values = {
        field: parsed(name, environ[name], kinds[field])
        for field, name in variables().items()
        if environ.get(name, "").strip() and field not in given
    }
    if "api_keys" not in given:
        values["api_keys"] = api_keys(environ)
    if "limits" not in given:
        values["limits"] = limits_of(environ)
    if "jobs" not in given:
        values["jobs"] = jobs_of(environ)
    return ServingConfig(**values, **given)


def variables() -> dict[str, str]:
    """The variable of every field that text can set."""
    kinds = typing.get_type_hints(ServingConfig)
    return {
        field.name: PREFIX + SHORT_NAMES.get(field.name, field.name.upper())
        for field in fields(ServingConfig)
        if _is_readable(kinds[field.name])
    }


def api_keys(environ: Mapping[str, str] = os.environ) -> tuple[str, ...]:
    """The keys, from the variable or from the file that the other one names.

    Raises:
        ValueError: both are set, or the file cannot be read or has none.
    """
    inline, path = environ.get(API_KEYS, ""), environ.get(API_KEYS_FILE, "").strip()
    if not path:
        return split(inline)
    if inline.strip():
        raise ValueError(f"{API_KEYS} and {API_KEYS_FILE} are both set: set one of them")
    try:
        keys = split(Path(path).expanduser().read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ValueError(f"{API_KEYS_FILE}={path}: {error}") from None
    if not keys:  # an empty secret must not open the door
        raise ValueError(f"{API_KEYS_FILE}={path}: the file has no key in it")
    return keys


def _is_readable(kind: Any) -> bool:
    kind = without_none(kind)
    if get_origin(kind) is tuple:
        return get_args(kind) == (str, ...)
    return get_origin(kind) is Literal or kind in (str, int, float, bool, Path)
