"""What shapes the embedded model and its training: the tables of config.toml."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

SETTINGS_ENV = "FIREREDTTS2_RECIPE"  # a file whose values stand in place of config.toml's
DEFAULTS = Path(__file__).with_name("config.toml")


def settings() -> dict[str, Any]:
    """All tables."""
    tables = _read(DEFAULTS)
    named = os.environ.get(SETTINGS_ENV)
    for name, values in (_read(Path(named)) if named else {}).items():
        tables[name] = _merged(tables.get(name, {}), values)
    return tables


def _read(path: Path) -> dict[str, Any]:
    return tomllib.loads(path.read_text(encoding="utf-8"))


def _merged(below: dict[str, Any], above: dict[str, Any]) -> dict[str, Any]:
    """Tables within tables are merged too; anything else is replaced."""
    merged = dict(below)
    for name, value in above.items():
        is_table = isinstance(value, dict) and isinstance(merged.get(name), dict)
        merged[name] = _merged(merged[name], value) if is_table else value
    return merged
