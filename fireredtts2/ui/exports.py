"""Files of a work: the mix, stems, subtitles and the project."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soundfile

from fireredtts2.audio_encoders import AudioFormat
from fireredtts2.audio_writer import open_audio_writer
from fireredtts2.config import OUTPUT_RATE_HZ
from fireredtts2.subtitles import to_srt, to_vtt
from fireredtts2.ui.errors import StudioError
from fireredtts2.ui.sound_file import read_sound, sound_path
from fireredtts2.ui.work import MAX_TURNS, Sound, Work
from fireredtts2.ui.work_file import read_work, work_values

PROJECT_SUFFIX = ".firered"
PROJECT_FILE = "project.json"
SOUND_FOLDER = "sound"
MAX_PROJECT_BYTES = 500_000_000
MAX_PROJECT_JSON_BYTES = 50_000_000
MAX_TURN_SECONDS = 3_600
MAX_PROJECT_SECONDS = 12 * 3_600
BLOCK_SAMPLES = OUTPUT_RATE_HZ * 10
PCM_SCALE = 32_768.0
MIX_FORMATS: dict[str, AudioFormat] = {
    "wav": "wav",
    "flac": "flac",
    "mp3": "mp3",
    "ogg": "opus",
}


@dataclass(frozen=True)
class PlacedTurn:
    """A turn where it is heard; what subtitles need."""

    speaker: str
    text: str
    start_s: float
    end_s: float


def export(work: Work, folder: Path, name: str, target: Path) -> None:
    """Writes one of a work's files.

    Args:
        work: what is written.
        folder: where its sound is.
        name: `mix.wav`, `mix.flac`, `mix.mp3`, `mix.ogg`, `stems.zip`, `subtitles.srt`,
            `subtitles.vtt` or `project.firered`.
        target: path of the file; its suffix is that of the name.

    Raises:
        StudioError: no such file, or nothing has been made yet.
        OSError: the disk is full.
    """
    if name == f"project{PROJECT_SUFFIX}":
        _write_project(work, folder, target)
        return
    if not any(turn.sound for turn in work.turns):
        raise StudioError("nothing has been made yet")
    kind, _, suffix = name.partition(".")
    if kind == "mix" and suffix in MIX_FORMATS:
        _write_track(work, folder, target, MIX_FORMATS[suffix])
    elif name == "stems.zip":
        _write_stems(work, folder, target)
    elif name == "subtitles.srt":
        target.write_text(to_srt(placed(work)), encoding="utf-8")
    elif name == "subtitles.vtt":
        target.write_text(to_vtt(placed(work)), encoding="utf-8")
    else:
        raise StudioError(f"no file {name[:40]!r} here", status=404)


def placed(work: Work) -> list[PlacedTurn]:
    """The turns that there is sound of, in the mix's time."""
    found, at = [], 0
    for place, turn in enumerate(work.turns):
        if turn.sound is None:
            continue
        at += _samples(work.pause_before(place))
        end = at + turn.sound.num_samples
        speaker = work.names.get(turn.speaker, turn.speaker)
        said = turn.sound.text
        found.append(PlacedTurn(speaker, said, at / OUTPUT_RATE_HZ, end / OUTPUT_RATE_HZ))
        at = end
    return found


def read_project(path: Path, folder: Path) -> Work:
    """Reads a project file: the work, with its sound put into a folder.

    Raises:
        StudioError: it is none, is damaged, or holds more than it should.
        OSError: the disk is full.
    """
    try:
        with zipfile.ZipFile(path) as file:
            infos = {info.filename: info for info in file.infolist()}
            if len(infos) > MAX_TURNS + 1:
                raise StudioError("this project has too many files in it")
            work = read_work(json.loads(_read(file, infos, PROJECT_FILE)))
            _check_length(work)
            work.turns = [
                turn
                if turn.sound is None
                else replace(turn, sound=_unpacked(file, infos, turn.sound, folder))
                for turn in work.turns
            ]
            return work
    except (
        zipfile.BadZipFile,
        KeyError,
        ValueError,
        EOFError,
        NotImplementedError,
        RecursionError,
    ):
        raise StudioError("this is no project of the studio, or it is damaged") from None
    except soundfile.LibsndfileError:
        raise StudioError("the sound in this project is damaged") from None


def _check_length(work: Work) -> None:
    """Raises StudioError for more sound than anybody makes: a few bytes may unpack to much."""
    seconds = [turn.sound.seconds for turn in work.turns if turn.sound is not None]
    if max(seconds, default=0.0) > MAX_TURN_SECONDS or sum(seconds) > MAX_PROJECT_SECONDS:
        raise StudioError(f"this project says that it holds {sum(seconds) / 3600:.1f} hours of "
                          f"sound; at most {MAX_PROJECT_SECONDS // 3600} are allowed")  # fmt: skip


def _write_project(work: Work, folder: Path, target: Path) -> None:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as file:
        told = json.dumps(work_values(work), ensure_ascii=False, indent=1)
        file.writestr(PROJECT_FILE, told, zipfile.ZIP_DEFLATED)
        for turn in work.turns:
            if turn.sound is not None:
                packed = io.BytesIO()
                samples = read_sound(folder, turn.sound.name)
                soundfile.write(packed, samples, OUTPUT_RATE_HZ, "PCM_16", format="FLAC")
                file.writestr(f"{SOUND_FOLDER}/{turn.sound.name}.flac", packed.getvalue())


def _read(file: zipfile.ZipFile, infos: dict[str, zipfile.ZipInfo], name: str) -> bytes:
    """A member that is no bomb."""
    limit = MAX_PROJECT_JSON_BYTES
    with file.open(infos[name]) as member:
        data = member.read(limit + 1)
    if len(data) > limit:
        raise StudioError("this project is too large")
    return data


def _unpacked(
    file: zipfile.ZipFile, infos: dict[str, zipfile.ZipInfo], sound: Sound, folder: Path
) -> Sound:
    packed = _read(file, infos, f"{SOUND_FOLDER}/{sound.name}.flac")
    with soundfile.SoundFile(io.BytesIO(packed)) as flac:
        is_right = flac.samplerate == OUTPUT_RATE_HZ and flac.channels == 1
        if not is_right or flac.frames != sound.num_samples:
            raise StudioError("the sound in this project is not the studio's")
        samples = flac.read(dtype="int16")
    samples.astype("<i2").tofile(sound_path(folder, sound.name))
    return sound


def _write_track(
    work: Work, folder: Path, target: Path, format: AudioFormat, speaker: str | None = None
) -> None:
    """The whole conversation, or what one says of it with silence for the others."""
    with open_audio_writer(target, OUTPUT_RATE_HZ, format) as writer:
        for place, turn in enumerate(work.turns):
            if turn.sound is None:
                continue
            for block in _silence(_samples(work.pause_before(place))):
                writer.write(block)
            samples = read_sound(folder, turn.sound.name)
            for start in range(0, len(samples), BLOCK_SAMPLES):
                block = samples[start : start + BLOCK_SAMPLES]
                is_heard = speaker is None or turn.speaker == speaker
                writer.write(block.astype(np.float32) / PCM_SCALE * is_heard)


def _write_stems(work: Work, folder: Path, target: Path) -> None:
    with zipfile.ZipFile(target, "w", zipfile.ZIP_STORED) as file:
        for speaker in work.speakers:
            label = _file_name(work.names.get(speaker, ""))
            track = target.with_name(f"{speaker}.flac")
            try:
                _write_track(work, folder, track, "flac", speaker)
                file.write(track, f"{speaker}-{label}.flac" if label else f"{speaker}.flac")
            finally:
                track.unlink(missing_ok=True)


def _silence(num_samples: int) -> Iterator[np.ndarray]:
    for start in range(0, num_samples, BLOCK_SAMPLES):
        yield np.zeros(min(BLOCK_SAMPLES, num_samples - start), np.float32)


def _samples(seconds: float) -> int:
    return round(seconds * OUTPUT_RATE_HZ)


def _file_name(name: str) -> str:
    return "".join(one for one in name if one.isalnum() or one in " -")[:40].strip()
