"""JSON files, written whole or not at all. Imports no torch."""

from __future__ import annotations

import json
from pathlib import Path

from fireredtts2.atomic_file import atomic_path


def write_json(path: Path, value: object) -> None:
    """Writes a value; its folder is made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(value, indent=1, allow_nan=False) + "\n", encoding="utf-8")
