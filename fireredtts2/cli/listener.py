"""The recogniser that `prepare --asr` lets listen: Whisper, as the evaluation uses it."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np

from fireredtts2.evaluation.alignment import align
from fireredtts2.evaluation.asr import ENGLISH, WhisperTranscriber, whisper_normalizer
from fireredtts2.evaluation.asr_model import asr_model_folder, recogniser_name
from fireredtts2.evaluation.extras import load_extra
from fireredtts2.training.prepare.judge import MakeListener
from fireredtts2.training.prepare.writing import language_code

#: Of the evaluation extra.
MODULES = ("faster_whisper", "jiwer", "whisper_normalizer.basic", "whisper_normalizer.english")


def whisper_listener(model: Path | None) -> tuple[MakeListener, str]:
    """What makes a listener in every process, and the recogniser's name.

    Args:
        model: a Whisper folder for CTranslate2; None is Whisper base, fetched once.

    Raises:
        MissingPackageError: a package of the evaluation extra is not installed.
        ValueError: `model` is no such folder.
        RuntimeError: Whisper base could not be fetched.
    """
    for module in MODULES:
        load_extra(module)  # told now, not when the first turn is listened to
    folder = asr_model_folder(model)
    return functools.partial(WhisperListener, folder), recogniser_name(folder)


class WhisperListener:
    """Compares what Whisper hears with a text, a model for each language that comes up.

    Args:
        folder: a Whisper folder for CTranslate2.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._hear = functools.cache(self._transcriber)
        self._plain = functools.cache(whisper_normalizer)

    def error_rate(self, audio: np.ndarray, text: str, language: str) -> tuple[float, str]:
        """Word error rate of (samples,) float32 at 16 kHz, and what was heard.

        Both texts are first made plain by Whisper's normaliser; in languages written without spaces
        every character counts as a word.
        """
        language = language_code(language) or ENGLISH
        heard = self._hear(language).transcribe(audio)
        plain = self._plain(language)
        words, spoken = plain(text), plain(heard)
        if not words.split():
            return float(bool(spoken.split())), heard
        errors = align(words, spoken)
        count = errors.substituted + errors.omitted + errors.inserted
        return count / len(words.split()), heard

    def _transcriber(self, language: str) -> WhisperTranscriber:
        return WhisperTranscriber(self._folder, language=language)
