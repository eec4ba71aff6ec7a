"""The layout of LJSpeech: `metadata.csv` with `id|text|normalised text`, audio in `wavs/`."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fireredtts2.training.prepare.recordings import (
    AUDIO_SUFFIXES,
    AudioPlace,
    Recording,
    SourceError,
    Turn,
)

METADATA = "metadata.csv"
AUDIO_FOLDERS = ("wavs", "wav", "audio", ".")


def is_ljspeech(root: Path) -> bool:
    """Whether the first line of `metadata.csv` has bars in it."""
    path = root / METADATA
    if not path.is_file():
        return False
    with path.open(encoding="utf-8-sig", errors="replace") as file:
        return "|" in file.readline()


def read_ljspeech(root: Path, speaker: str | None, language: str) -> Iterator[Recording]:
    """Clips in the order of `metadata.csv`; the last column is the text.

    Raises:
        SourceError: names the line that has no bar.
    """
    path = root / METADATA
    if not path.is_file():
        raise SourceError(f"{root}: no {METADATA} in it, which the LJSpeech layout has")
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        name, *texts = line.rstrip("\r").split("|")
        where = f"{METADATA} line {number}"
        if not texts or not name.strip():
            raise SourceError(f"{where}: expected id|text or id|text|normalised text, got {line!r}")
        said = next((one.strip() for one in reversed(texts) if one.strip()), "")
        turn = Turn(AudioPlace(_audio(root, name.strip())), said, speaker or root.resolve().name)
        yield Recording(name.strip(), (turn,), language, where)


def _audio(root: Path, name: str) -> Path:
    """The file of a clip; where there is none, the one that there should be."""
    names = [name] if Path(name).suffix.lower() in AUDIO_SUFFIXES else []
    names += [name + suffix for suffix in (".wav", *sorted(AUDIO_SUFFIXES - {".wav"}))]
    candidates = (root / folder / one for folder in AUDIO_FOLDERS for one in names)
    return next((path for path in candidates if path.is_file()), root / "wavs" / f"{name}.wav")
