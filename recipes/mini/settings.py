"""What shapes the embedded model and its training: the tables of config.toml."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from fireredtts2.config import CodecConfig, LLMConfig, TextConfig
from fireredtts2.config_values import build_config
from fireredtts2.llm.sampling import SamplingParams
from fireredtts2.training.recipe_reading import build
from fireredtts2.training.train_codec import CodecTrainConfig
from fireredtts2.training.train_decoder import DecoderTrainConfig
from fireredtts2.training.train_guidance import GuidanceConfig
from fireredtts2.training.train_llm import LlmTrainConfig
from fireredtts2.training.train_speakers import SpeakerTrainConfig

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SETTINGS_ENV = "FIREREDTTS2_RECIPE"  # a file whose values stand in place of config.toml's
DEFAULTS = Path(__file__).with_name("config.toml")

Kind = TypeVar("Kind")


def settings() -> dict[str, Any]:
    """All tables.

    Raises:
        ValueError: a table or key that nothing reads, or a value that is of no use.
    """
    tables = _read(DEFAULTS)
    named = os.environ.get(SETTINGS_ENV)
    if named:
        own = _read(Path(named))
        try:
            _check_tables(own)
            tables |= {name: _merged(tables[name], values) for name, values in own.items()}
            for name in own:
                CHECKS[name](tables[name])
        except ValueError as error:
            raise ValueError(f"{named}: {error}") from None
    return tables


def run_settings(kind: type[Kind], name: str, seconds: str | None = None) -> Kind:
    """A run's table as `kind`; SECONDS of a command line stand in place of its `max_seconds`."""
    config = build(kind, settings()[name], name)
    if seconds is None:
        return config
    return replace(config, max_seconds=float(seconds))  # type: ignore[type-var]


def _check_tables(own: Mapping[str, Any]) -> None:
    for name, values in own.items():
        if name not in CHECKS:
            raise ValueError(f"unknown table {name!r}; allowed: {', '.join(CHECKS)}")
        if not isinstance(values, dict):
            raise ValueError(f"{name}: {values!r} given; expected a table")


def _check_llm(values: dict[str, Any]) -> None:
    LLMConfig.from_dict({**values, "text_vocab_size": 1})  # the tokenizer says how many
    build_config(SamplingParams, values["sampling"], "llm.sampling")


def _check_counts(values: dict[str, Any]) -> None:
    """Of clips by kind; which kinds there are, the corpus says."""
    for kind, count in values.items():
        if type(count) is not int or count < 1:
            raise ValueError(f"guide_clips.{kind}: {count!r} given; allowed: 1 or more")


#: What takes a table's values, and raises ValueError where it cannot.
CHECKS: Mapping[str, Callable[[dict[str, Any]], object]] = {
    "codec": CodecConfig.from_dict,
    "train_codec": partial(build, CodecTrainConfig, where="train_codec"),
    "train_speakers": partial(build, SpeakerTrainConfig, where="train_speakers"),
    "train_decoder": partial(build, DecoderTrainConfig, where="train_decoder"),
    "llm": _check_llm,
    "train_llm": partial(build, LlmTrainConfig, where="train_llm"),
    "text": partial(build_config, TextConfig, where="text"),
    "guide": partial(build, GuidanceConfig, where="guide"),
    "guide_clips": _check_counts,
    "guide_bare": partial(build, GuidanceConfig, where="guide_bare"),
}


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{path}: not valid TOML ({error})") from None


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Tables within tables are merged too; anything else is replaced."""
    merged = dict(below)
    for name, value in above.items():
        is_table = isinstance(value, dict) and isinstance(merged.get(name), dict)
        merged[name] = _merged(merged[name], value) if is_table else value
    return merged
