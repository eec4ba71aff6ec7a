"""Results of many turns, written in one pass: audio, stems, subtitles and a list of the turns."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import torch

from fireredtts2.atomic_file import atomic_path
from fireredtts2.audio_encoders import AAC_BITS_PER_S
from fireredtts2.audio_writer import open_audio_writer
from fireredtts2.config import OUTPUT_RATE_HZ
from fireredtts2.serving.marking import NewMarker, Write, marked_write, unmarked
from fireredtts2.speech import AudioChunk
from fireredtts2.subtitles import to_srt, to_vtt

SILENCE_BLOCK = 60 * OUTPUT_RATE_HZ
SUFFIXES = {"opus": ".ogg"}


@dataclass(frozen=True)
class ChapterMark:
    """A chapter's title and where it is, in ms."""

    title: str
    start_ms: int
    end_ms: int


@dataclass(frozen=True)
class Wanted:
    """What is to be made.

    Attributes:
        formats: of the whole's audio: those of `AudioFormat`, and "m4b".
        subtitles: "srt" and "vtt".
        stems: a track a speaker, each as long as the whole.
        turns: `turns.json`.
        title: of the whole.
        chapters: of an M4B file, which has to know them from the start.
        names: of speakers.
        new_marker: of each file's watermark.
    """

    formats: Sequence[str] = ()
    subtitles: Sequence[str] = ()
    stems: bool = False
    turns: bool = True
    title: str | None = None
    chapters: Sequence[ChapterMark] = ()
    names: Callable[[str], str] = str
    new_marker: NewMarker = unmarked


@dataclass(frozen=True)
class SpokenTurn:
    """A turn without its audio."""

    index: int
    speaker: str
    name: str
    text: str
    start_s: float
    end_s: float
    was_cut: bool

    def public(self) -> dict[str, Any]:
        times = {"start_s": round(self.start_s, 6), "end_s": round(self.end_s, 6)}
        return {**self.__dict__, **times}


@dataclass(frozen=True)
class _Shown:
    speaker: str
    text: str
    start_s: float
    end_s: float


def assemble(chunks: Iterable[AudioChunk], folder: Path, wanted: Wanted) -> list[str]:
    """Writes what is wanted into a folder, each file whole or not at all; the memory stays flat.

    Returns:
        The names of the files.

    Raises:
        OSError: the disk is full; no file is half-written.
    """
    turns: list[SpokenTurn] = []
    with ExitStack() as stack:
        names, writes = _open_audio(stack, folder, wanted)
        stems = _Stems(stack, folder, wanted.new_marker) if wanted.stems else None
        for chunk in chunks:
            for write in writes:
                write(chunk.audio)
            if stems is not None:
                stems.write(chunk)
            if chunk.turn is not None:
                turns.append(spoken(chunk, wanted.names))
        if stems is not None:
            names += stems.names
    return names + _write_texts(turns, folder, wanted)


def spoken(chunk: AudioChunk, names: Callable[[str], str] = str) -> SpokenTurn:
    """What is told of a turn whose last chunk this is."""
    turn = chunk.turn
    assert turn is not None
    return SpokenTurn(chunk.turn_index, turn.speaker, names(turn.speaker), turn.text,
                      turn.start_s, turn.end_s, turn.was_cut)  # fmt: skip


def subtitles(turns: Sequence[SpokenTurn], format: str) -> str:
    """Subtitles, with the speakers' names."""
    shown = [_Shown(turn.name, turn.text, turn.start_s, turn.end_s) for turn in turns]
    return to_srt(shown) if format == "srt" else to_vtt(shown)


def _open_audio(stack: ExitStack, folder: Path, wanted: Wanted) -> tuple[list[str], list[Write]]:
    names: list[str] = []
    writes: list[Write] = []
    for format in dict.fromkeys(wanted.formats):
        name = "audio" + SUFFIXES.get(format, f".{format}")
        names.append(name)
        if format == "m4b":
            write = stack.enter_context(m4b_writer(folder / name, wanted.title, wanted.chapters))
        else:
            opened = open_audio_writer(folder / name, OUTPUT_RATE_HZ, format)
            write = stack.enter_context(opened).write
        writes.append(marked_write(stack, write, wanted.new_marker()))
    return names, writes


def _write_texts(turns: Sequence[SpokenTurn], folder: Path, wanted: Wanted) -> list[str]:
    texts = {f"subtitles.{format}": subtitles(turns, format) for format in wanted.subtitles}
    if wanted.turns:
        about = {"sample_rate": OUTPUT_RATE_HZ, "turns": [turn.public() for turn in turns]}
        texts["turns.json"] = json.dumps(about, ensure_ascii=False, indent=1)
    for name, text in texts.items():
        with atomic_path(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return list(texts)


class _Stems:
    """A track a speaker: silence while others speak."""

    def __init__(self, stack: ExitStack, folder: Path, new_marker: NewMarker) -> None:
        self._stack, self._folder, self._new_marker = stack, folder, new_marker
        self._tracks: dict[str, Write] = {}
        self._num_samples = 0

    @property
    def names(self) -> list[str]:
        return [f"stem_{speaker}.wav" for speaker in self._tracks]

    def write(self, chunk: AudioChunk) -> None:
        if chunk.speaker not in self._tracks:
            path = self._folder / f"stem_{chunk.speaker}.wav"
            opened = open_audio_writer(path, OUTPUT_RATE_HZ, "wav")
            track = marked_write(
                self._stack, self._stack.enter_context(opened).write, self._new_marker()
            )
            self._tracks[chunk.speaker] = track
            for start in range(0, self._num_samples, SILENCE_BLOCK):
                track(torch.zeros(min(SILENCE_BLOCK, self._num_samples - start)))
        for speaker, track in self._tracks.items():
            is_speaking = speaker == chunk.speaker
            track(chunk.audio if is_speaking else torch.zeros_like(chunk.audio))
        self._num_samples += chunk.audio.shape[0]


@contextmanager
def m4b_writer(path: Path, title: str | None, chapters: Sequence[ChapterMark]) -> Iterator[Write]:
    """An audio book: AAC in MP4 with chapters. It appears whole or not at all."""
    # NOTE: FFmpeg's own file errors are OSErrors too, with their numbers.
    with atomic_path(path) as temporary, open(temporary, "wb") as file:
        container = av.open(file, "w", format="ipod")
        try:
            stream = container.add_stream("aac", rate=OUTPUT_RATE_HZ, layout="mono")
            stream.bit_rate = AAC_BITS_PER_S
            if title:
                container.metadata["title"] = title
            container.set_chapters([_chapter(n, mark) for n, mark in enumerate(chapters)])
            num_samples = 0

            def write(audio: torch.Tensor) -> None:
                nonlocal num_samples
                for start in range(0, audio.shape[0], SILENCE_BLOCK):
                    part = audio[start : start + SILENCE_BLOCK].clamp(-1, 1).numpy()
                    container.mux(stream.encode(_frame(part, num_samples)))
                    num_samples += part.shape[0]

            yield write
            container.mux(stream.encode(None))
        finally:
            container.close()


def _chapter(number: int, mark: ChapterMark) -> Any:
    return {
        "id": number,
        "start": mark.start_ms,
        "end": mark.end_ms,
        "time_base": Fraction(1, 1000),
        "metadata": {"title": mark.title},
    }


def _frame(audio: np.ndarray, pts: int) -> av.AudioFrame:
    frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(audio[None]), "flt", "mono")
    frame.sample_rate, frame.time_base = OUTPUT_RATE_HZ, Fraction(1, OUTPUT_RATE_HZ)
    frame.pts = pts
    return frame
