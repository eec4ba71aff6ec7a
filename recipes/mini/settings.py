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

SETTINGS_ENV = "FIREREDTTS2_RECIPE"  # another file in place of config.toml


def settings() -> dict[str, Any]:
    """All tables."""
    path = Path(os.environ.get(SETTINGS_ENV) or Path(__file__).with_name("config.toml"))
    return tomllib.loads(path.read_text(encoding="utf-8"))
