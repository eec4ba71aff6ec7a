"""SHA-256 of files and folders: what tells one set of weights, or of source files, from another."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from fireredtts2.checkpoint import TOKENIZER_FOLDERS, CheckpointFolder

BLOCK_BYTES = 1 << 20
SHORT_DIGITS = 16


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def fingerprint(folder: Path, files: Iterable[Path]) -> str:
    """One short digest of several files below a folder, their names included."""
    digest = hashlib.sha256()
    for path in sorted(files):
        digest.update(f"{path.relative_to(folder).as_posix()} {sha256(path)}\n".encode())
    return digest.hexdigest()[:SHORT_DIGITS]


def model_fingerprint(folder: CheckpointFolder) -> str:
    """Digest of what a checkpoint speaks with.

    Its prose (`.md`) is left out, and so is what else lies in its folder: adapters, reports.
    """
    files = [*folder.path.iterdir()]
    for below in (*(folder.path / name for name in TOKENIZER_FOLDERS), folder.voices_path):
        files += below.rglob("*")
    return fingerprint(folder.path, [p for p in files if p.is_file() and p.suffix != ".md"])


def code_fingerprint(package: Path) -> str:
    """Digest of a package's sources below this part of it: what could change how it speaks."""
    files = package.rglob("*.py")
    return fingerprint(package, [p for p in files if Path(__file__).parent not in p.parents])
