"""The sounds of a run: looked through once, held out or not, read window by window."""

from __future__ import annotations

import dataclasses
import json
import logging
import math
import threading
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fireredtts2.atomic_file import atomic_path
from fireredtts2.audio_decoding import resample_array
from fireredtts2.config import FRAME_RATE_HZ
from fireredtts2.training.codec.recipe_sections import DataRecipe
from fireredtts2.training.codec.sources import read_sounds, takes_all_below
from fireredtts2.training.prepare.audio_reading import AudioReader
from fireredtts2.training.prepare.checks import MEANINGS, Reason, RefusedError
from fireredtts2.training.prepare.options import PrepareOptions
from fireredtts2.training.prepare.recordings import AudioPlace, Recording, digest
from fireredtts2.training.prepare.splits import TRAIN, assign

log = logging.getLogger(__name__)
SILENCE_PEAK = 1e-3  # -60 dB of full scale
#: Read on either side of a window, so that resampling knows what is around it.
MARGIN_S = 0.05
#: Of a frame: times are rounded.
ROUNDING = 1e-6
INDEX_FILE = "sounds.json"


@dataclass(frozen=True)
class Sound:
    """Something to be heard: where, at what rate, how long, and by whom."""

    id: str
    place: AudioPlace
    rate_hz: int
    seconds: float
    is_held_out: bool
    speaker: str

    @property
    def num_frames(self) -> int:
        """Frames of 80 ms, the last one begun."""
        return math.ceil(self.seconds * FRAME_RATE_HZ - ROUNDING)


@dataclass(frozen=True)
class Sounds:
    """All that can be used, why others cannot, and what tells this set from another."""

    digest: str
    all: tuple[Sound, ...]
    refused: dict[str, int]

    def part(self, held_out: bool) -> list[Sound]:
        return [sound for sound in self.all if sound.is_held_out == held_out]

    @property
    def summary(self) -> str:
        """One line for people."""
        hours = sum(sound.seconds for sound in self.all) / 3600
        left = sum(self.refused.values())
        why = ", ".join(f"{reason} {count}" for reason, count in sorted(self.refused.items()))
        return (
            f"{len(self.all)} sounds, {hours:.2f} h, {len(self.part(True))} held out; "
            f"{left} left out{f' ({why})' if why else ''}"
        )


def open_sounds(recipe: DataRecipe, out: Path) -> Sounds:
    """Looks through a source, or takes what an earlier look of this run found.

    Raises:
        ValueError: nothing there that can be used, or, with `faults` "refuse", the first fault;
            or `out` lies where its own samples would be taken for sounds of the source.
        OSError: what was found cannot be written.
    """
    source = Path(recipe.source)
    if takes_all_below(source) and out.resolve().is_relative_to(source.resolve()):
        raise ValueError(
            f"run.out: {out} lies in data.source {source}, all of whose sound files are learnt "
            "from, so that the run's own samples would be among them; choose a run.out outside it"
        )
    recordings = read_sounds(source)
    root = source if source.is_dir() else source.parent
    name = f"{digest(recordings, root)}-{_rules(recipe)}"
    found = _kept(out / INDEX_FILE, name)
    if found is None:
        found = _look(recordings, recipe)
        out.mkdir(parents=True, exist_ok=True)
        with atomic_path(out / INDEX_FILE) as temporary:
            values = {"digest": name, **dataclasses.asdict(found)}
            temporary.write_text(json.dumps(values), encoding="utf-8")
    sounds = Sounds(name, _usable(recordings, found, recipe), found.refused)
    if not sounds.part(False):
        raise ValueError(f"{source}: nothing to learn from: {sounds.summary}")
    return sounds


@dataclass(frozen=True)
class _Found:
    """Rate and seconds of what can be used by id, and why the rest cannot."""

    measures: dict[str, tuple[int, float]]
    refused: dict[str, int]


def _rules(recipe: DataRecipe) -> str:
    limits = (recipe.validation, recipe.min_seconds, recipe.max_seconds, recipe.min_rate_hz)
    return "-".join(f"{limit:g}" for limit in limits)


def _kept(path: Path, name: str) -> _Found | None:
    """What an earlier look found, where it was at the same sounds by the same rules."""
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if values["digest"] != name:
            return None
        return _Found({k: (r, s) for k, (r, s) in values["measures"].items()}, values["refused"])
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _look(recordings: Sequence[Recording], recipe: DataRecipe) -> _Found:
    """Reads every sound once."""
    measures: dict[str, tuple[int, float]] = {}
    refused: Counter[str] = Counter()
    with ThreadPoolExecutor(recipe.workers) as workers:
        looks = workers.map(lambda one: _measured(one.turns[0].audio, recipe), recordings)
        for recording, found in zip(recordings, looks, strict=True):
            if not isinstance(found, RefusedError):
                measures[recording.id] = found
                continue
            what = f"{recording.id}: {MEANINGS[found.reason]} ({found.detail})"
            if recipe.faults == "refuse":
                workers.shutdown(cancel_futures=True)
                raise ValueError(f"{what}; data.faults: skip would leave it out")
            if not refused[found.reason.value]:
                log.warning("left out: %s", what)
            refused[found.reason.value] += 1
    return _Found(measures, dict(refused))


def _measured(place: AudioPlace, recipe: DataRecipe) -> tuple[int, float] | RefusedError:
    """Rate and seconds of a sound, or why it cannot be used."""
    try:
        audio, rate_hz = AudioReader(recipe.max_seconds).read(place)
    except RefusedError as error:
        return error
    seconds = audio.size / rate_hz
    if seconds < recipe.min_seconds:
        return RefusedError(Reason.TOO_SHORT, f"{seconds:.2f} s")
    if rate_hz < recipe.min_rate_hz:
        return RefusedError(Reason.LOW_RATE, f"{rate_hz} Hz")
    if np.abs(audio).max() < SILENCE_PEAK:
        return RefusedError(Reason.SILENCE, f"peak {np.abs(audio).max():.2g}")
    return rate_hz, seconds


def _usable(
    recordings: Sequence[Recording], found: _Found, recipe: DataRecipe
) -> tuple[Sound, ...]:
    kept = [recording for recording in recordings if recording.id in found.measures]
    splits = assign(kept, PrepareOptions(Path(), Path(), validation=recipe.validation))
    return tuple(
        Sound(
            one.id,
            one.turns[0].audio,
            *found.measures[one.id],
            is_held_out=splits[one.id] != TRAIN,
            speaker=one.turns[0].speaker,
        )
        for one in kept
    )


class SoundReader:
    """Reads windows of sounds at any rate, in any thread."""

    def __init__(self, max_seconds: float) -> None:
        self._max_seconds = max_seconds
        self._own = threading.local()

    @property
    def _reader(self) -> AudioReader:
        # It keeps the last file that had to be decoded whole, so every thread has one of its own.
        if not hasattr(self._own, "reader"):
            self._own.reader = AudioReader(self._max_seconds)
        return self._own.reader

    def window(self, sound: Sound, first: int, num_frames: int, rate_hz: int) -> np.ndarray:
        """Frames `first` to `first + num_frames` as samples (num_frames * rate_hz / 12.5,).

        Float32; silence where the sound has ended.

        Raises:
            ValueError: the file has become unreadable since it was looked through.
        """
        begin_s, end_s = first / FRAME_RATE_HZ, (first + num_frames) / FRAME_RATE_HZ
        from_s = max(0.0, begin_s - MARGIN_S)
        to_s = min(sound.seconds, end_s + MARGIN_S)
        result = np.zeros(round(num_frames * rate_hz / FRAME_RATE_HZ), np.float32)
        if to_s <= from_s:
            return result
        start_s = sound.place.start_s
        place = dataclasses.replace(sound.place, start_s=start_s + from_s, end_s=start_s + to_s)
        try:
            audio, file_rate_hz = self._reader.read(place)
        except RefusedError as error:
            raise ValueError(f"{sound.id}: could be read before, and now not: {error}") from error
        audio = resample_array(np.ascontiguousarray(audio), file_rate_hz, rate_hz)
        audio = audio[round((begin_s - from_s) * rate_hz) :][: result.size]
        result[: audio.size] = audio
        return result
