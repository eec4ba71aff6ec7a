"""Which layout a source has, and its recordings."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from fireredtts2.training.prepare.recordings import (
    Recording,
    SourceError,
    apart,
    in_plain_form,
    refuse_odd_names,
    refuse_repeated_ids,
)
from fireredtts2.training.prepare.sources.folder import is_folder, read_folder
from fireredtts2.training.prepare.sources.huggingface import is_huggingface, read_huggingface
from fireredtts2.training.prepare.sources.lhotse import is_lhotse, read_lhotse
from fireredtts2.training.prepare.sources.ljspeech import is_ljspeech, read_ljspeech
from fireredtts2.training.prepare.sources.manifest import is_manifest, read_manifest

AUTO = "auto"


@dataclass(frozen=True)
class Layout:
    """A layout: how it is told from others, how it is read, and how it looks, for messages."""

    is_one: Callable[[Path], bool]
    read: Callable[[Path, str | None, str], Iterator[Recording]]
    looks: str


#: In the order in which they are tried: what looks like nothing else is a plain folder.
LAYOUTS: Mapping[str, Layout] = {
    "manifest": Layout(is_manifest, read_manifest, "a .jsonl file"),
    "ljspeech": Layout(is_ljspeech, read_ljspeech, "metadata.csv with bars, and wavs/"),
    "lhotse": Layout(is_lhotse, read_lhotse, "recordings.jsonl with supervisions.jsonl"),
    "huggingface": Layout(
        is_huggingface, read_huggingface, "Parquet or Arrow files, or metadata with file_name"
    ),
    "folder": Layout(is_folder, read_folder, "audio files with .txt or .lab beside them"),
}


def read_source(
    path: Path,
    layout: str = AUTO,
    speaker: str | None = None,
    language: str = "",
    conversations: bool = True,
) -> tuple[str, list[Recording]]:
    """The recordings of a source.

    Args:
        path: a folder or file.
        layout: one of `LAYOUTS`; "auto" looks for it.
        speaker: who speaks, where the source does not say.
        language: where the source does not say.
        conversations: whether they stay whole; otherwise every turn is a clip.

    Returns:
        The layout and the recordings, in an order that is always the same: languages as
        `language_code` has them, a speaker tag at the beginning of a text left out.

    Raises:
        SourceError: there is no such thing, nothing in it, or what is there is not right;
            a name or text is not Unicode.
    """
    if not path.exists():
        raise SourceError(f"{path}: no such file or folder")
    name = detect(path) if layout == AUTO else layout
    if name not in LAYOUTS:
        raise SourceError(f"source {name!r}; allowed: {AUTO}, {', '.join(LAYOUTS)}")
    found = list(LAYOUTS[name].read(path, speaker, language))
    if not found:
        raise SourceError(f"{path}: no recordings found in it (read as {name})")
    if not conversations:
        found = [clip for recording in found for clip in apart(recording)]
    found = [in_plain_form(recording) for recording in found]
    refuse_odd_names(found)
    refuse_repeated_ids(found)
    return name, found


def detect(path: Path) -> str:
    """The layout of a source.

    Raises:
        SourceError: it looks like none of them.
    """
    for name, layout in LAYOUTS.items():
        if layout.is_one(path):
            return name
    known = "; ".join(f"{name}: {layout.looks}" for name, layout in LAYOUTS.items())
    raise SourceError(f"{path}: looks like no source that is known ({known})")
