"""What takes audio chunks: files, pipes, players, one track a speaker, one file a turn, subtitles.

Each is a context manager that lends a function for the chunks. What it writes is there when it ends
well, and not at all when an error or Ctrl-C ends it; only files of finished turns stay.
"""

from __future__ import annotations

import contextlib
import io
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from fireredtts2.atomic_file import atomic_path
from fireredtts2.audio_encoders import AudioFormat
from fireredtts2.audio_writer import (
    SUFFIX_FORMATS,
    AudioStreamWriter,
    AudioTarget,
    open_audio_writer,
    write_audio,
)
from fireredtts2.config import OUTPUT_RATE_HZ
from fireredtts2.playback import Player, open_player, play_file
from fireredtts2.speech import AudioChunk
from fireredtts2.subtitles import to_srt, to_vtt

Take = Callable[[AudioChunk], None]


@contextmanager
def audio(target: AudioTarget, format: str | None) -> Iterator[Take]:
    """One file, pipe or open file; a pipe gets every chunk at once."""
    with open_audio_writer(target, OUTPUT_RATE_HZ, format) as writer:
        yield lambda chunk: writer.write(chunk.audio)


@contextmanager
def whole_standard_output(format: str | None) -> Iterator[Take]:
    """Standard output, written when all is made: then its header knows the length."""
    buffer = io.BytesIO()
    with audio(buffer, format) as take:
        yield take
    sys.stdout.buffer.write(buffer.getvalue())
    sys.stdout.buffer.flush()


@contextmanager
def player(program: Player) -> Iterator[Take]:
    """A player that starts when all is made."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        with audio(path, "wav") as take:
            yield take
        play_file(program, path)


@contextmanager
def live_player(program: Player) -> Iterator[Take]:
    """A player that plays while the audio is made."""
    with open_player(program) as pipe, audio(pipe, program.stream_format) as take:
        yield take


@contextmanager
def stems(folder: Path, format: str) -> Iterator[Take]:
    """One track a speaker, all of the same length: silence while others speak."""
    with ExitStack() as stack:
        tracks: dict[str, AudioStreamWriter] = {}
        num_samples = 0

        def take(chunk: AudioChunk) -> None:
            nonlocal num_samples
            if chunk.speaker not in tracks:
                path = folder / f"{chunk.speaker}{suffix_of(format)}"
                track = stack.enter_context(open_audio_writer(path, OUTPUT_RATE_HZ, format))
                _write_silence(track, num_samples)
                tracks[chunk.speaker] = track
            for speaker, track in tracks.items():
                is_speaking = speaker == chunk.speaker
                track.write(chunk.audio if is_speaking else torch.zeros_like(chunk.audio))
            num_samples += chunk.audio.shape[0]

        yield take


@contextmanager
def turn_files(folder: Path, format: str) -> Iterator[Take]:
    """One file a turn, there as soon as the turn is finished, and staying whatever comes after."""

    def take(chunk: AudioChunk) -> None:
        if chunk.turn is not None:
            name = f"{chunk.turn_index + 1:03}_{chunk.speaker}{suffix_of(format)}"
            write_audio(folder / name, chunk.turn.audio, OUTPUT_RATE_HZ, format)

    yield take


@dataclass(frozen=True)
class TimedText:
    """What subtitles need of a turn; an hour's audio is not kept for them."""

    speaker: str
    text: str
    start_s: float
    end_s: float


@contextmanager
def subtitles(srt: Path | None, vtt: Path | None, names: Mapping[str, str]) -> Iterator[Take]:
    """SubRip and WebVTT files, with the names that the script gives its speakers."""
    turns: list[TimedText] = []

    def take(chunk: AudioChunk) -> None:
        if (turn := chunk.turn) is not None:
            name = names.get(turn.speaker, turn.speaker)
            turns.append(TimedText(name, turn.text, turn.start_s, turn.end_s))

    yield take
    for path, render in ((srt, to_srt), (vtt, to_vtt)):
        if path is not None:
            with atomic_path(path) as temporary:
                temporary.write_text(render(turns), encoding="utf-8")


def suffix_of(format: str) -> str:
    """A format's extension."""
    known: dict[AudioFormat, str] = {"wav_float": ".wav"}
    for suffix, name in SUFFIX_FORMATS.items():
        known.setdefault(name, suffix)
    matches = (suffix for name, suffix in known.items() if name == format)
    with contextlib.suppress(StopIteration):
        return next(matches)
    raise ValueError(f"format {format!r}; allowed: {', '.join(known)}")


def _write_silence(track: AudioStreamWriter, num_samples: int) -> None:
    """A minute at a time, so that a speaker who comes late costs no memory."""
    block = 60 * OUTPUT_RATE_HZ
    for start in range(0, num_samples, block):
        track.write(torch.zeros(min(block, num_samples - start)))
