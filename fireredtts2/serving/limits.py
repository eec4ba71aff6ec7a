"""How much of everything a server takes, from everybody and from each."""

from __future__ import annotations

import os
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from fireredtts2.serving.variable import parsed

PREFIX = "FIREREDTTS2_"


@dataclass(frozen=True)
class Quota:
    """What one client may do; None is without a limit.

    Attributes:
        requests_per_minute: below /v1, of any kind.
        characters_per_minute: of text to be spoken.
        concurrent_streams: answers with speech, or WebSocket connections, at once.
        uploads_per_hour: clips, as voices or as `ref_audio`.
        max_voices: kept at once.
    """

    requests_per_minute: int | None = None
    characters_per_minute: int | None = None
    concurrent_streams: int | None = None
    uploads_per_hour: int | None = None
    max_voices: int | None = 1_000

    def __post_init__(self) -> None:
        _check(self)


@dataclass(frozen=True)
class Limits:
    """What a server takes.

    Attributes:
        max_body_bytes: of one request, whatever it holds.
        max_json_depth: lists and objects inside one another.
        body_timeout_s: longest silence while a body is sent.
        max_body_s: longest time for a whole body.
        max_request_s: longest time for a whole request, its answer included.
        header_timeout_s: longest time until a request's head is whole.
        send_timeout_s: how long a listener may take nothing of what waits for him.
        max_connections: open at once; more are refused.
        decode_timeout_s: for one clip.
        quota: of each client without one of its own.
    """

    max_body_bytes: int = 32_000_000
    max_json_depth: int = 32
    body_timeout_s: float = 20.0
    max_body_s: float = 300.0
    max_request_s: float = 14_400.0
    header_timeout_s: float = 15.0
    send_timeout_s: float = 60.0
    max_connections: int = 2_000
    decode_timeout_s: float = 20.0
    quota: Quota = field(default_factory=Quota)

    def __post_init__(self) -> None:
        _check(self)


def limits_of(environ: Mapping[str, str] = os.environ) -> Limits:
    """The limits that the environment names: FIREREDTTS2_ and a field's name in capitals.

    Raises:
        ValueError: a value is not allowed; names the variable.
    """
    return Limits(**_given(Limits, environ), quota=Quota(**_given(Quota, environ)))


def _given(kind: type[Limits] | type[Quota], environ: Mapping[str, str]) -> dict[str, Any]:
    hints = typing.get_type_hints(kind)
    names = {one.name: PREFIX + one.name.upper() for one in fields(kind) if one.name != "quota"}
    return {
        name: parsed(variable, environ[variable], hints[name])
        for name, variable in names.items()
        if environ.get(variable, "").strip()
    }


def _check(limits: Limits | Quota) -> None:
    for one in fields(limits):
        value = getattr(limits, one.name)
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        # NOTE: written so that NaN fails it.
        if not (value is None or isinstance(value, Quota) or (is_number and value > 0)):
            raise ValueError(f"{one.name} {value!r}: must be a number above 0")
