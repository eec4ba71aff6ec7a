"""A folder of audio files, each with its text beside it in a file of the same name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from fireredtts2.training.prepare.recordings import AUDIO_SUFFIXES, AudioPlace, Recording, Turn

#: In the order in which they are looked for.
TEXT_SUFFIXES = (".txt", ".lab", ".normalized.txt")


def audio_files(root: Path) -> list[Path]:
    """The audio files of a folder and those below it, in an order of their own."""
    found = [path for path in root.rglob("*") if path.suffix.lower() in AUDIO_SUFFIXES]
    return sorted((path for path in found if path.is_file()), key=lambda path: path.as_posix())


def is_folder(root: Path) -> bool:
    """Whether there is an audio file with a text beside it."""
    return root.is_dir() and any(text_beside(path) is not None for path in audio_files(root))


def read_folder(root: Path, speaker: str | None, language: str) -> Iterator[Recording]:
    """Clips of a folder.

    Args:
        root: searched with all folders below it.
        speaker: who speaks; None names every speaker by the folder that the file lies in.
        language: of all.

    Yields:
        A recording for every audio file; one without a text has the text "".
    """
    for path in audio_files(root):
        name = path.relative_to(root).as_posix()
        turn = Turn(AudioPlace(path), _text(path), speaker or path.parent.name)
        yield Recording(name, (turn,), language, name)


def text_beside(path: Path) -> Path | None:
    """The file with an audio file's text."""
    candidates = (path.with_suffix(suffix) for suffix in TEXT_SUFFIXES)
    return next((candidate for candidate in candidates if candidate.is_file()), None)


def _text(path: Path) -> str:
    beside = text_beside(path)
    # NOTE: a wrong byte becomes U+FFFD, which the check of the text refuses with its reason.
    return "" if beside is None else " ".join(beside.read_text("utf-8-sig", "replace").split())
