"""Hearing: speech to text with Whisper, and the text form in which texts are compared."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np

from fireredtts2.evaluation.extras import load_extra

MIN_AUDIO_SAMPLES = 1_600  # 0.1 s at 16 kHz; less holds no word, and Whisper would invent one
WINDOW_SAMPLES = 480_000  # the 30 s that Whisper hears at once
ENGLISH = "en"
#: Written without spaces between words: every character counts as a word.
UNSPACED = ("zh", "ja", "th", "lo", "my", "yue")


class Transcriber(Protocol):
    """Hears what is said in a clip (samples,) float32 at 16 kHz."""

    def transcribe(self, audio: np.ndarray) -> str: ...


class WhisperTranscriber:
    """Whisper through CTranslate2 in int8, greedy, without a second try at a higher temperature.

    Greedy and alone because a judge that tries again until the text looks likely hides faults.
    """

    def __init__(self, folder: str | Path, threads: int = 1, language: str = ENGLISH) -> None:
        self._language = language
        model_class = load_extra("faster_whisper").WhisperModel
        self._model = model_class(
            str(folder), device="cpu", compute_type="int8", cpu_threads=threads, num_workers=1
        )
        known = self._model.supported_languages
        if language not in known:
            raise ValueError(f"language {language!r}; {folder} knows: {', '.join(sorted(known))}")

    def transcribe(self, audio: np.ndarray) -> str:
        if len(audio) < MIN_AUDIO_SAMPLES:
            return ""
        segments, _ = self._model.transcribe(
            audio,
            language=self._language,
            beam_size=1,
            temperature=0.0,
            vad_filter=False,
            condition_on_previous_text=False,
            # Of more than one window it must know how far it has come: it would else leave out
            # what follows in each.
            without_timestamps=len(audio) <= WINDOW_SAMPLES,
        )
        return " ".join(segment.text.strip() for segment in segments)


def whisper_normalizer(language: str = ENGLISH) -> Callable[[str], str]:
    """Whisper's text normaliser: case, punctuation, and in English numbers and spellings made one.

    In languages written without spaces it puts one between all characters.
    """
    if language == ENGLISH:
        english = load_extra("whisper_normalizer.english").EnglishTextNormalizer()
        return lambda text: str(english(text))
    basic = load_extra("whisper_normalizer.basic").BasicTextNormalizer(
        split_letters=language in UNSPACED
    )
    return lambda text: str(basic(text))
