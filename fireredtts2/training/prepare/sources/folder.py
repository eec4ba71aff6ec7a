"""A folder of audio files, each with its text beside it in a file of the same name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fireredtts2.training.prepare.recordings import AUDIO_SUFFIXES, AudioPlace, Recording, Turn

#: In the order in which they are looked for, in large letters too.
TEXT_SUFFIXES = (".txt", ".lab", ".normalized.txt")
MISSING = "no .txt or .lab beside it"


def audio_files(root: Path) -> list[Path]:
    """The audio files of a folder and those below it, in an order of their own."""
    found = [path for path in root.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES]
    return sorted((path for path in found if path.is_file()), key=lambda path: path.as_posix())


def is_folder(root: Path) -> bool:
    """Whether there is an audio file with a text beside it."""
    texts = text_files(root)
    return root.is_dir() and any(_stem(path) in texts for path in audio_files(root))


def read_folder(root: Path, speaker: str | None, language: str) -> Iterator[Recording]:
    """Clips of a folder.

    Args:
        root: searched with all folders below it.
        speaker: who speaks; None names every speaker by the folder that the file lies in.
        language: of all.

    Yields:
        A recording for every audio file; one without a text has the text "", and says why.
    """
    texts = text_files(root)
    for path in audio_files(root):
        name, beside = path.relative_to(root).as_posix(), texts.get(_stem(path))
        text, missing = ("", MISSING) if beside is None else (_text(beside), "")
        turn = Turn(AudioPlace(path), text, speaker or path.parent.name, missing)
        yield Recording(name, (turn,), language, name)


def text_files(root: Path) -> dict[str, Path]:
    """The files with texts of a folder and those below it, by the stems of their audio files."""
    # Backwards, so that of a.txt and a.TXT the first is taken.
    files = sorted((path for path in root.rglob("*") if path.is_file()), reverse=True)
    found: dict[str, Path] = {}
    for suffix in TEXT_SUFFIXES:
        for path in files:
            if path.name.lower().endswith(suffix):
                found.setdefault(str(path)[: -len(suffix)], path)
    return found


def _stem(audio: Path) -> str:
    return str(audio.with_suffix(""))


def _text(path: Path) -> str:
    # NOTE: a wrong byte becomes U+FFFD, which the check of the text refuses with its reason.
    return " ".join(path.read_text("utf-8-sig", "replace").split())
