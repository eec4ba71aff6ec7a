"""Judges turns one by one: text, audio, and both together; makes what passed ready to encode."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from fireredtts2.audio_decoding import resample_array
from fireredtts2.checkpoint import CheckpointFolder
from fireredtts2.config import INPUT_RATE_HZ, INPUT_SAMPLES_PER_FRAME
from fireredtts2.training.prepare import checks, levels
from fireredtts2.training.prepare.audio_reading import AudioReader
from fireredtts2.training.prepare.checks import Reason, RefusedError
from fireredtts2.training.prepare.options import PrepareOptions
from fireredtts2.training.prepare.recordings import Recording, Turn
from fireredtts2.training.prepare.text_judge import TextJudge

#: A turn may have this much silence around it before it counts as too long.
SILENCE_SPARE_S = 10.0


class Listener(Protocol):
    """A recogniser that compares what it hears with a text."""

    def error_rate(self, audio: np.ndarray, text: str, language: str) -> tuple[float, str]:
        """Word error rate of (samples,) float32 at 16 kHz, and what was heard."""
        ...


MakeListener = Callable[[], Listener]


@dataclass(frozen=True)
class Verdict:
    """What was found out about a turn. Numbers are None where a check before ended it.

    Attributes:
        reason: a `Reason`'s value; "" where the turn passed.
        detail: of the refusal.
        seconds: of speech, without the silence that was cut.
        chars_per_second: letters and digits.
        level_dbfs: active level before it was made even.
        gain_db: what it was made even with.
        num_rows: of text and frames.
        error_rate: of words, where a recogniser listened.
        digest: of the samples, for finding the same audio again.
    """

    reason: str = ""
    detail: str = ""
    seconds: float | None = None
    chars_per_second: float | None = None
    level_dbfs: float | None = None
    gain_db: float | None = None
    num_rows: int | None = None
    error_rate: float | None = None
    digest: str = ""


@dataclass
class Heard:
    """A turn on its way: what is known, and its audio (samples,) float32 at 16 kHz if it passed."""

    verdict: Verdict
    audio: np.ndarray | None = None


class Judge:
    """Judges the turns of recordings.

    Args:
        options: limits and levels.
        folder: checkpoint whose language model will read.
        make_listener: makes a recogniser; None compares nothing.
    """

    def __init__(
        self, options: PrepareOptions, folder: CheckpointFolder, make_listener: MakeListener | None
    ) -> None:
        self._options, self._limits = options, options.limits
        self._texts = TextJudge(folder, options.limits)
        self._files = AudioReader(options.limits.max_seconds + SILENCE_SPARE_S)
        self._listener = None if make_listener is None else make_listener()

    def recording(self, recording: Recording) -> list[Heard]:
        """Every turn of a recording, judged, and brought to one level for each speaker."""
        heard = [self._turn(turn, number, recording) for number, turn in enumerate(recording.turns)]
        if self._options.level_dbfs is not None:
            self._even(heard, recording.turns)
        return heard

    def _turn(self, turn: Turn, number: int, recording: Recording) -> Heard:
        facts: dict[str, Any] = {}
        try:
            if turn.missing:
                raise RefusedError(Reason.EMPTY_TEXT, turn.missing)
            text_rows = self._texts.num_rows(turn.text, recording.language)
            self._check_overlap(number, recording.turns)
            audio = self._audio(turn, facts)
            frames = -(-audio.size // INPUT_SAMPLES_PER_FRAME)
            facts["num_rows"] = text_rows + frames
            checks.check_rows(text_rows + frames, self._limits)
            self._listen(audio, turn.text, recording.language, facts)
        except RefusedError as error:
            return Heard(Verdict(error.reason.value, error.detail, **facts))
        return Heard(Verdict(**facts), audio)

    def _audio(self, turn: Turn, facts: dict[str, Any]) -> np.ndarray:
        """The speech of a turn at 16 kHz."""
        audio, rate_hz = self._files.read(turn.audio)
        facts["seconds"] = round(audio.size / rate_hz, 3)
        facts["digest"] = hashlib.sha256(pcm16(audio).tobytes()).hexdigest()
        checks.check_rate(rate_hz, self._limits)
        if audio.size < levels.FRAME_S * rate_hz:
            checks.check_length(audio.size / rate_hz, self._limits)
        facts["level_dbfs"] = round(levels.active_level(audio, rate_hz), 2)
        checks.check_level(facts["level_dbfs"], self._limits)
        checks.check_clipping(levels.clipped_share(audio), self._limits)
        if self._options.kept_silence_s is not None:
            begin, end = levels.speech_span(audio, rate_hz, self._options.kept_silence_s)
            audio = audio[begin:end]
        seconds = audio.size / rate_hz
        facts["seconds"] = round(seconds, 3)
        checks.check_length(seconds, self._limits)
        facts["chars_per_second"] = round(checks.count_spoken(turn.text) / seconds, 2)
        checks.check_pace(turn.text, seconds, self._limits)
        return resample_array(audio, rate_hz, INPUT_RATE_HZ)

    def _check_overlap(self, number: int, turns: Sequence[Turn]) -> None:
        turn = turns[number]
        others = (other for other in turns if other.speaker != turn.speaker)
        overlap_s = max((_overlap_s(turn, other) for other in others), default=0.0)
        if overlap_s > self._limits.max_overlap_s:
            raise RefusedError(
                Reason.OVERLAP,
                f"{overlap_s:.2f} s with another speaker; "
                f"allowed: {self._limits.max_overlap_s:g} s",
            )

    def _listen(self, audio: np.ndarray, text: str, language: str, facts: dict[str, Any]) -> None:
        if self._listener is None:
            return
        rate, heard = self._listener.error_rate(audio, text, language)
        facts["error_rate"] = round(rate, 4)
        checks.check_words(rate, heard, self._limits)

    def _even(self, heard: Sequence[Heard], turns: Sequence[Turn]) -> None:
        """One gain for each speaker, so that what was said softly stays softer."""
        target_dbfs = self._options.level_dbfs
        assert target_dbfs is not None
        for speaker in dict.fromkeys(turn.speaker for turn in turns):
            own = [h for h, turn in zip(heard, turns, strict=True) if turn.speaker == speaker]
            said = [h for h in own if h.audio is not None]
            if not said:
                continue
            joined = np.concatenate([h.audio for h in said if h.audio is not None])
            gain = levels.even_gain(joined, INPUT_RATE_HZ, target_dbfs)
            for one in said:
                assert one.audio is not None
                one.audio = one.audio * np.float32(gain)
                gain_db = round(20 * float(np.log10(gain)), 2)
                one.verdict = dataclasses.replace(one.verdict, gain_db=gain_db)


def pcm16(audio: np.ndarray) -> np.ndarray:
    """(samples,) as 16-bit whole numbers: the same for a WAV file and its FLAC."""
    return np.clip(np.round(audio * 32_768), -32_768, 32_767).astype("<i2")


def _overlap_s(turn: Turn, other: Turn) -> float:
    """Seconds that both are heard in one channel of one file."""
    one, two = turn.audio, other.audio
    if (one.path, one.channel, one.row) != (two.path, two.channel, two.row):
        return 0.0
    if one.end_s is None or two.end_s is None:
        return 0.0
    return min(one.end_s, two.end_s) - max(one.start_s, two.start_s)
