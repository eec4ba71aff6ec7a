"""What a recording must be to be learnt from, and the reason where it is not."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import Enum

from fireredtts2.training.prepare.writing import count_spoken, is_dense, script_share

#: A character of Chinese, Japanese or Korean takes about as long to say as three letters.
LETTERS_PER_DENSE_CHARACTER = 3
#: One short word may be drawn out, so a text is called too slow only from here on.
SLOW_FROM_S = 2.0


class Reason(str, Enum):
    """Why something was refused; the value stands in reports."""

    UNREADABLE = "unreadable"
    LOW_RATE = "low_rate"
    TOO_SHORT = "too_short"
    TOO_LONG = "too_long"
    SILENCE = "silence"
    CLIPPING = "clipping"
    EMPTY_TEXT = "empty_text"
    SPEAKER_TAG = "speaker_tag"
    UNKNOWN_TEXT = "unknown_text"
    WRONG_SCRIPT = "wrong_script"
    TOO_FAST = "too_fast"
    TOO_SLOW = "too_slow"
    OVERLAP = "overlap"
    MISHEARD = "misheard"
    DUPLICATE = "duplicate"


#: In words, for people.
MEANINGS = {
    Reason.UNREADABLE: "the audio is missing, damaged, or ends too early",
    Reason.LOW_RATE: "the sampling rate is too low",
    Reason.TOO_SHORT: "shorter than allowed",
    Reason.TOO_LONG: "longer than allowed",
    Reason.SILENCE: "nothing, or next to nothing, can be heard",
    Reason.CLIPPING: "too many samples at the limit",
    Reason.EMPTY_TEXT: "no text, or nothing to say in it",
    Reason.SPEAKER_TAG: "a speaker tag within the text",
    Reason.UNKNOWN_TEXT: "characters that the model cannot read",
    Reason.WRONG_SCRIPT: "not the script of its language",
    Reason.TOO_FAST: "more text than can be said in that time",
    Reason.TOO_SLOW: "less text than is said in that time",
    Reason.OVERLAP: "two speak at once",
    Reason.MISHEARD: "a recogniser heard other words",
    Reason.DUPLICATE: "the same audio as another",
}


class RefusedError(ValueError):
    """Something cannot be learnt from.

    Args:
        reason: which check it failed.
        detail: what was found and what is allowed.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail


@dataclass(frozen=True)
class Limits:
    """What is allowed.

    Attributes:
        min_seconds: of a turn after its ends were trimmed.
        max_seconds: of a turn.
        min_rate_hz: of a file; less has no high frequencies.
        min_level_dbfs: active level, full scale is 0.
        max_clipped: share of samples in runs at the limit, 0 to 1.
        min_chars_per_second: letters and digits; for a text in Chinese, Japanese or Korean a third
            of it.
        max_chars_per_second: as above.
        min_script_share: share of the letters that are of the language's script, 0 to 1.
        max_overlap_s: of a turn with another speaker's in the same channel.
        max_rows: text and frames of a sample together: what `data.rows_per_batch` holds.
        max_wer: share of words heard otherwise, where a recogniser listens.
    """

    min_seconds: float = 0.5
    max_seconds: float = 30.0
    min_rate_hz: int = 16_000
    min_level_dbfs: float = -50.0
    max_clipped: float = 0.001
    min_chars_per_second: float = 4.0
    max_chars_per_second: float = 30.0
    min_script_share: float = 0.5
    max_overlap_s: float = 0.3
    max_rows: int = 512
    max_wer: float = 0.3

    def __post_init__(self) -> None:
        pairs = (
            ("seconds", self.min_seconds, self.max_seconds),
            ("characters per second", self.min_chars_per_second, self.max_chars_per_second),
        )
        for what, low, high in pairs:
            if not 0 <= low < high < math.inf:
                raise ValueError(f"{what} from {low:g} to {high:g}: the first must be less")
        for name in ("max_clipped", "min_script_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} {getattr(self, name):g}; allowed: 0 to 1")
        for name, low in (
            ("min_rate_hz", 0),
            ("max_overlap_s", 0),
            ("max_rows", 1),
            ("max_wer", 0),
        ):
            if not getattr(self, name) >= low:  # nor NaN
                raise ValueError(f"{name} {getattr(self, name):g}; allowed: {low} or more")


def check_script(text: str, language: str, limits: Limits) -> None:
    """Refuses a text that is not written as its language is; "" and rare languages pass."""
    share = script_share(text, language)
    if share is not None and share < limits.min_script_share:
        raise RefusedError(
            Reason.WRONG_SCRIPT,
            f"{share:.0%} of the letters are of {language}'s script; "
            f"allowed: {limits.min_script_share:.0%} or more",
        )


def check_length(seconds: float, limits: Limits) -> None:
    """Refuses what is too short or too long."""
    allowed = f"allowed: {limits.min_seconds:g} to {limits.max_seconds:g} s"
    if seconds < limits.min_seconds:
        raise RefusedError(Reason.TOO_SHORT, f"{seconds:.2f} s; {allowed}")
    if seconds > limits.max_seconds:
        raise RefusedError(Reason.TOO_LONG, f"{seconds:.2f} s; {allowed}")


def check_rate(rate_hz: int, limits: Limits) -> None:
    """Refuses a file of a low sampling rate."""
    if rate_hz < limits.min_rate_hz:
        raise RefusedError(Reason.LOW_RATE, f"{rate_hz} Hz; allowed: {limits.min_rate_hz} or more")


def check_level(level_dbfs: float, limits: Limits) -> None:
    """Refuses what can hardly be heard."""
    if level_dbfs < limits.min_level_dbfs:
        raise RefusedError(
            Reason.SILENCE,
            f"active level {level_dbfs:.1f} dBFS; allowed: {limits.min_level_dbfs:g} or more",
        )


def check_clipping(share: float, limits: Limits) -> None:
    """Refuses what was recorded too loud."""
    if share > limits.max_clipped:
        raise RefusedError(
            Reason.CLIPPING,
            f"{share:.2%} of the samples are clipped; allowed: {limits.max_clipped:.2%}",
        )


def check_pace(text: str, seconds: float, limits: Limits) -> float:
    """Characters per second; refuses a text that does not go with its audio."""
    pace = count_spoken(text) / seconds
    scale = LETTERS_PER_DENSE_CHARACTER if is_dense(text) else 1
    low, high = limits.min_chars_per_second / scale, limits.max_chars_per_second / scale
    detail = f"{pace:.1f} characters per second; allowed: {low:.3g} to {high:.3g}"
    if pace > high:
        raise RefusedError(Reason.TOO_FAST, detail)
    if pace < low and seconds >= SLOW_FROM_S:
        raise RefusedError(Reason.TOO_SLOW, detail)
    return pace


def check_rows(num_rows: int, limits: Limits) -> None:
    """Refuses what fits into no batch."""
    if num_rows > limits.max_rows:
        raise RefusedError(
            Reason.TOO_LONG, f"{num_rows} rows of text and frames; allowed: {limits.max_rows}"
        )


def check_words(error_rate: float, heard: str, limits: Limits) -> None:
    """Refuses a text whose words were not heard."""
    if error_rate > limits.max_wer:
        raise RefusedError(
            Reason.MISHEARD,
            f"word error rate {error_rate:.2f}; allowed: {limits.max_wer:g}; heard: {heard!r}",
        )
