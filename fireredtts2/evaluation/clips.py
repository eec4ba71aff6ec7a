"""Scores of clips whose text is known: of the model, of a codec, of a training run."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fireredtts2.audio import resample
from fireredtts2.config import INPUT_RATE_HZ, OUTPUT_RATE_HZ
from fireredtts2.evaluation.alignment import Alignment, align
from fireredtts2.evaluation.judges import Judges
from fireredtts2.evaluation.metrics import (
    ErrorCount,
    bootstrap_interval,
    char_errors,
    mean,
    pooled,
    word_errors,
)
from fireredtts2.evaluation.prosody import Prosody, measure_prosody
from fireredtts2.evaluation.speaker import VoiceProfile

Audio = np.ndarray | Tensor
PITCH_ORIGIN_HZ = 100.0  # pitch in semitones counts from here


@dataclass(frozen=True)
class ClipScore:
    """Scores of one clip; None where the judge is not there or there is nothing to judge."""

    text: str
    heard: str
    words: ErrorCount
    chars: ErrorCount
    seconds: float
    dnsmos: float | None
    similarity: float | None
    embedding: np.ndarray | None
    alignment: Alignment
    prosody: Prosody

    def as_row(self) -> dict[str, Any]:
        """The score as a row of the report."""
        return {
            "text": self.text,
            "heard": self.heard,
            "word_errors": self.words.errors,
            "words": self.words.length,
            "char_errors": self.chars.errors,
            "chars": self.chars.length,
            "seconds": round(self.seconds, 3),
            "dnsmos": self.dnsmos,
            "similarity": self.similarity,
            **asdict(self.alignment),
            **self.prosody_row(),
        }

    def prosody_row(self) -> dict[str, float | None]:
        """The figures of pitch, pace and pauses as fields of a row."""
        pitch_hz = self.prosody.pitch_hz
        pitch_st = None if pitch_hz is None else 12 * math.log2(pitch_hz / PITCH_ORIGIN_HZ)
        return {**asdict(self.prosody), "pitch_st": pitch_st}

    def as_json(self) -> dict[str, Any]:
        """Everything, as JSON can hold it; `from_json` reads it."""
        embedding = None if self.embedding is None else self.embedding.tolist()
        return {**asdict(self), "embedding": embedding}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> ClipScore:
        """The score that `as_json` wrote."""
        embedding = values["embedding"]
        parsed = {
            "words": ErrorCount(**values["words"]),
            "chars": ErrorCount(**values["chars"]),
            "embedding": None if embedding is None else np.array(embedding),
            "alignment": Alignment(**values["alignment"]),
            "prosody": Prosody(**values["prosody"]),
        }
        return cls(**{**values, **parsed})


@dataclass(frozen=True)
class ClipScores:
    """Scores of several clips and what they come to together."""

    clips: tuple[ClipScore, ...]

    @property
    def wer(self) -> float:
        """Word error rate over all words, 0.05 for 5 %."""
        return pooled(clip.words for clip in self.clips).rate

    @property
    def cer(self) -> float:
        """Character error rate over all characters."""
        return pooled(clip.chars for clip in self.clips).rate

    @property
    def wer_interval(self) -> tuple[float, float]:
        """95 % bootstrap interval of the word error rate."""
        return bootstrap_interval([clip.words for clip in self.clips])

    @property
    def dnsmos(self) -> float | None:
        return mean(clip.dnsmos for clip in self.clips)

    @property
    def similarity(self) -> float | None:
        return mean(clip.similarity for clip in self.clips)


def score_clips(
    clips: Iterable[tuple[Audio, str]],
    judges: Judges | None = None,
    rate_hz: int = OUTPUT_RATE_HZ,
) -> ClipScores:
    """Scores (audio, text) pairs; needs no model of ours, so a training run can call it.

    Args:
        clips: Audio (samples,) or (1, samples) float in -1..1, and the text that was meant.
        judges: What to score with; all of them, freshly loaded, by default.
        rate_hz: Sample rate of the audio.

    Raises:
        ValueError: There is no clip, or a text without a word.

    Example:
        >>> scores = score_clips([(audio, "Good morning.")])  # doctest: +SKIP
        >>> f"{scores.wer:.1%}, DNSMOS {scores.dnsmos:.2f}"  # doctest: +SKIP
    """
    judges = judges or Judges.load()
    scored = tuple(score_clip(audio, text, judges, rate_hz) for audio, text in clips)
    if not scored:
        raise ValueError("no clips to score")
    return ClipScores(scored)


def score_clip(
    audio: Audio,
    text: str,
    judges: Judges,
    rate_hz: int = OUTPUT_RATE_HZ,
    profile: VoiceProfile | None = None,
) -> ClipScore:
    """Scores one clip; an empty one counts all its words as errors."""
    sound = for_judges(audio, rate_hz)
    heard = judges.transcriber.transcribe(sound) if len(sound) else ""
    reference, hypothesis = judges.normalize(text), judges.normalize(heard)
    words = word_errors(reference, hypothesis)
    embedding = judges.speaker.embed(sound) if judges.speaker and len(sound) else None
    return ClipScore(
        text=text,
        heard=heard,
        words=words,
        # Spaces that a normaliser has put between all characters are never wrong.
        chars=words if judges.is_unspaced else char_errors(reference, hypothesis),
        seconds=len(sound) / INPUT_RATE_HZ,
        dnsmos=judges.quality.score(sound) if judges.quality and len(sound) else None,
        similarity=None if profile is None or embedding is None else profile.similarity(embedding),
        embedding=embedding,
        alignment=align(reference, hypothesis),
        prosody=measure_prosody(sound, len(hypothesis.split()), judges.pitch),
    )


def for_judges(audio: Audio, rate_hz: int) -> np.ndarray:
    """Audio (samples,) or (1, samples) as the judges take it: (samples,) float32 at 16 kHz."""
    values = audio.detach() if isinstance(audio, Tensor) else torch.from_numpy(audio)
    values = values.float().cpu()
    if values.ndim == 2 and values.shape[0] == 1:
        values = values[0]
    if values.ndim != 1:
        shape = tuple(values.shape)
        raise ValueError(f"expected one channel, (samples,) or (1, samples); got {shape}")
    return resample(values, rate_hz, INPUT_RATE_HZ).numpy()
