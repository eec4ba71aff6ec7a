"""How speech is made: sampling, limits, attempts, and the seed that repeats it."""

from __future__ import annotations

import hashlib
import math
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, TypedDict, get_args

from fireredtts2.config import (
    DEFAULT_TEMPERATURE,
    DEFAULT_TOPK,
    DEFAULT_TURN_LIMIT_MS,
    DEPTH_TEMPERATURE,
    DEPTH_TOPK,
    FRAME_RATE_HZ,
)
from fireredtts2.llm.sampling import SamplingParams, is_number

OnRunaway = Literal["error", "cut", "accept"]
DEFAULT_MAX_ATTEMPTS = 3
SEED_BITS = 63


class MoreOptionValues(TypedDict, total=False):
    """The options as keywords, without those that the published calls have by name."""

    depth_temperature: float
    depth_topk: int
    seed: int | None
    turn_limit_ms: float
    max_attempts: int
    takes: int
    on_runaway: OnRunaway
    reencode_context: bool
    adapter: str


class OptionValues(MoreOptionValues, total=False):
    """The options as keywords."""

    temperature: float
    topk: int


@dataclass(frozen=True)
class Options:
    """How speech is made.

    A checkpoint may name its own sampling, which then stands where the caller gives none
    (`Studio.options`); the values here are the published program's.

    Attributes:
        temperature: of the backbone's choice of code 0; 0 takes the likeliest.
        topk: how many of the likeliest codes 0 it chooses from.
        depth_temperature: of the other codes.
        depth_topk: for the other codes.
        seed: makes a run repeatable; None draws one.
        turn_limit_ms: a turn still going on then is a runaway. It is also the part of the context
            window that is kept free for the turn.
        max_attempts: how often an empty, failed or runaway turn is tried, each time with other
            random numbers.
        takes: how often at most a piece is spoken until a listener, where the model has one, hears
            every sound of its text clearly; the clearest take is kept. Of a stream, as often as
            there is time while what came before is heard. A checkpoint may name its own number.
        on_runaway: after the last attempt: "error" raises SpeechError, "cut" logs a warning and
            keeps what was made up to the limit; "accept" takes the limit for the wanted length: no
            fault at all.
        reencode_context: put every turn back into the context as audio, encoded again, as the
            published program does; by default its codes are kept, which is faster and exact.
        adapter: the name of a loaded adapter; "" is none.
    """

    temperature: float = DEFAULT_TEMPERATURE
    topk: int = DEFAULT_TOPK
    depth_temperature: float = DEPTH_TEMPERATURE
    depth_topk: int = DEPTH_TOPK
    seed: int | None = None
    turn_limit_ms: float = DEFAULT_TURN_LIMIT_MS
    max_attempts: int = DEFAULT_MAX_ATTEMPTS
    takes: int = 1
    on_runaway: OnRunaway = "error"
    reencode_context: bool = False
    adapter: str = ""

    def __post_init__(self) -> None:
        limit = self.turn_limit_ms
        if not (is_number(limit) and math.isfinite(limit)) or self.max_frames < 1:
            raise ValueError(
                f"turn_limit_ms {self.turn_limit_ms!r}: must be at least {1000 / FRAME_RATE_HZ:g}, "
                "the length of one frame"
            )
        if not isinstance(self.max_attempts, int) or self.max_attempts < 1:
            raise ValueError(
                f"max_attempts {self.max_attempts!r}: must be a whole number, 1 or above"
            )
        if not isinstance(self.takes, int) or self.takes < 1:
            raise ValueError(f"takes {self.takes!r}: must be a whole number, 1 or above")
        if self.on_runaway not in get_args(OnRunaway):
            allowed = ", ".join(get_args(OnRunaway))
            raise ValueError(f"on_runaway {self.on_runaway!r}; allowed: {allowed}")
        if self.seed is not None and (not isinstance(self.seed, int) or self.seed < 0):
            raise ValueError(f"seed {self.seed!r}: must be a whole number, 0 or above")
        _ = self.sampling  # checks its own numbers

    @classmethod
    def from_keywords(cls, values: Mapping[str, Any]) -> Options:
        """Builds options, with a seed drawn where none is given; an unknown name is an error."""
        known = [field.name for field in fields(cls)]
        unknown = sorted(set(values) - set(known))
        if unknown:
            raise ValueError(f"unknown options {unknown}; known: {', '.join(known)}")
        values = dict(values)
        if values.get("seed") is None:
            values["seed"] = secrets.randbits(32)
        return cls(**values)

    @property
    def sampling(self) -> SamplingParams:
        return SamplingParams(self.temperature, self.topk, self.depth_temperature, self.depth_topk)

    @property
    def max_frames(self) -> int:
        """Frames of the longest turn."""
        return int(self.turn_limit_ms * FRAME_RATE_HZ / 1000)

    def seed_of(self, *path: int) -> int:
        """The seed of one attempt at one piece of one turn: independent of every other one's."""
        digest = hashlib.blake2b(repr((self.seed, *path)).encode(), digest_size=8).digest()
        return int.from_bytes(digest, "big") >> (64 - SEED_BITS)
