"""Reads the part of a file that a turn is in, at the file's own rate."""

from __future__ import annotations

import contextlib
import io
from pathlib import Path
from typing import BinaryIO

import av.error
import numpy as np
import soundfile

from fireredtts2.audio_decoding import MAX_FILE_RATE_HZ, MIN_FILE_RATE_HZ, decode_with_av
from fireredtts2.training.prepare.checks import Reason, RefusedError
from fireredtts2.training.prepare.file_length import counts_frames, is_cut
from fireredtts2.training.prepare.recordings import AudioPlace

#: Times of transcripts are rounded: a turn may end this much after its file.
SPARE_S = 0.1
#: libsndfile says so of a FLAC file that was written to a pipe, for instance.
UNKNOWN_FRAMES = 2**62
#: libsndfile guesses by the first frame: at most so much too long, where bit rates vary.
GUESSED_TIMES = 10
#: What an odd file makes the decoders raise; TypeError where a name ends like that of bare samples.
FAULTS = (
    OSError, ValueError, TypeError, soundfile.LibsndfileError, av.error.FFmpegError,
)  # fmt: skip
NOT_AUDIO = "damaged, or not audio that is known here"


class AudioReader:
    """Reads turns; keeps the last file that had to be decoded whole.

    Args:
        max_seconds: a turn that lasts longer is refused before it is read.
    """

    def __init__(self, max_seconds: float) -> None:
        self._max_seconds = max_seconds
        self._kept: tuple[tuple[Path, int], np.ndarray, int] | None = None

    def read(self, place: AudioPlace) -> tuple[np.ndarray, int]:
        """Samples (samples,) float32 of a turn, and their rate.

        Raises:
            RefusedError: there is no such file, it is damaged, cut, no audio, too long, of an odd
                rate, or ends before the turn does.
        """
        name = place.path.name
        try:
            audio, rate_hz = self._read(place)
        except RefusedError:
            raise
        except FAULTS as error:
            cause = _cause(error).removeprefix(f"{name}: ")
            raise RefusedError(Reason.UNREADABLE, f"{name}: {cause}") from None
        if not np.isfinite(audio).all():
            raise RefusedError(Reason.UNREADABLE, f"{name}: NaN or infinite samples")
        return audio, rate_hz

    def _read(self, place: AudioPlace) -> tuple[np.ndarray, int]:
        if place.row is not None:
            from fireredtts2.training.prepare.sources.tables import read_cell

            return self._from(io.BytesIO(read_cell(place)), place)
        if self._kept is not None and self._kept[0] == (place.path, place.channel):
            return self._cut(self._kept[1], self._kept[2], place)
        with place.path.open("rb") as file:
            return self._from(file, place)

    def _from(self, file: BinaryIO, place: AudioPlace) -> tuple[np.ndarray, int]:
        # A turn with an end of its own is compared with what is there, in `_span` and `_seek`.
        if place.end_s is None and is_cut(file):
            detail = f"{place.path.name}: cut off, ends before its header or last page says"
            raise RefusedError(Reason.UNREADABLE, detail)
        is_counted = counts_frames(file)
        with contextlib.suppress(soundfile.LibsndfileError), soundfile.SoundFile(file) as sound:
            is_guessed = sound.format == "MP3" and not is_counted and place.end_s is None
            if sound.frames < UNKNOWN_FRAMES and not (is_guessed and self._may_fit(sound)):
                return self._seek(sound, place)
        file.seek(0)
        try:
            return self._decoded(file, place)
        except av.error.FFmpegError:
            # One with junk behind it is read as far as libsndfile believes that it goes.
            file.seek(0)
            with soundfile.SoundFile(file) as sound:
                if sound.frames >= UNKNOWN_FRAMES:
                    raise
                return self._seek(sound, place)

    def _may_fit(self, sound: soundfile.SoundFile) -> bool:
        """Whether a file whose length is a guess might be short enough."""
        return bool(sound.frames <= GUESSED_TIMES * self._max_seconds * sound.samplerate)

    def _decoded(self, file: BinaryIO, place: AudioPlace) -> tuple[np.ndarray, int]:
        """What libsndfile does not read, or cannot tell the length of: decoded whole."""
        audio, rate_hz = decode_with_av(file.read(), place.path.name, place.channel)
        if not rate_hz:
            raise RefusedError(Reason.UNREADABLE, f"{place.path.name}: {NOT_AUDIO}")
        if place.row is None:
            self._kept = ((place.path, place.channel), audio, rate_hz)
        return self._cut(audio, rate_hz, place)

    def _seek(self, sound: soundfile.SoundFile, place: AudioPlace) -> tuple[np.ndarray, int]:
        rate_hz, frames = sound.samplerate, sound.frames
        _check_rate(rate_hz, place)
        if place.channel >= sound.channels:
            detail = f"channel {place.channel}; {place.path.name} has {sound.channels}"
            raise RefusedError(Reason.UNREADABLE, detail)
        begin, end = self._span(place, frames, rate_hz)
        sound.seek(begin)
        audio = sound.read(end - begin, dtype="float32", always_2d=True)[:, place.channel]
        missing_s = (end - begin - audio.size) / rate_hz
        if missing_s > SPARE_S:
            detail = f"{place.path.name}: cut off, {missing_s:.2f} s before the turn's end"
            raise RefusedError(Reason.UNREADABLE, detail)
        return audio.copy(), rate_hz

    def _cut(self, audio: np.ndarray, rate_hz: int, place: AudioPlace) -> tuple[np.ndarray, int]:
        _check_rate(rate_hz, place)
        begin, end = self._span(place, audio.size, rate_hz)
        return audio[begin:end], rate_hz

    def _span(self, place: AudioPlace, num_samples: int, rate_hz: int) -> tuple[int, int]:
        """First and last sample of a turn."""
        length_s = num_samples / rate_hz
        end_s = length_s if place.end_s is None else place.end_s
        if place.start_s >= length_s or end_s > length_s + SPARE_S:
            detail = f"{place.path.name} ends at {length_s:.2f} s, the turn at {end_s:.2f} s"
            raise RefusedError(Reason.UNREADABLE, detail)
        if end_s - place.start_s > self._max_seconds:
            detail = f"{end_s - place.start_s:.2f} s; read are {self._max_seconds:g} s"
            raise RefusedError(Reason.TOO_LONG, detail)
        return round(place.start_s * rate_hz), min(num_samples, round(end_s * rate_hz))


def _check_rate(rate_hz: int, place: AudioPlace) -> None:
    if not MIN_FILE_RATE_HZ <= rate_hz <= MAX_FILE_RATE_HZ:
        allowed = f"allowed: {MIN_FILE_RATE_HZ} to {MAX_FILE_RATE_HZ} Hz"
        raise RefusedError(Reason.UNREADABLE, f"{place.path.name}: {rate_hz} Hz; {allowed}")


def _cause(error: Exception) -> str:
    if isinstance(error, FileNotFoundError) and not isinstance(error, av.error.FFmpegError):
        return "no such file"
    if isinstance(error, av.error.FFmpegError | soundfile.LibsndfileError):
        return NOT_AUDIO
    if isinstance(error, TypeError):
        return "bare samples, without a header that says their rate"
    return str(getattr(error, "strerror", None) or error)
