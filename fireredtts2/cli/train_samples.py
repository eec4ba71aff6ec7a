"""Speaks the samples of a run of `train`, and has Whisper listen where it is installed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fireredtts2.fireredtts2 import FireRedTTS2
from fireredtts2.narration.errors import SpeechError
from fireredtts2.training.finetune.recipe import Recipe
from fireredtts2.training.finetune.samples import Sample, SampleLine
from fireredtts2.voices import Voice

log = logging.getLogger(__name__)
SEED = 1
#: A model that has not learnt to end a turn yet must not hold the run up.
MAX_SAMPLE_MS = 15_000.0
Listener = Callable[[str, np.ndarray], tuple[int, int]]


class Speaker:
    """Loads what was learnt so far as a user would, speaks, and lets it go."""

    def __init__(self) -> None:
        self._listeners: dict[str, Listener | None] = {}

    def __call__(
        self, recipe: Recipe, folder: Path, device: str, lines: Sequence[SampleLine]
    ) -> list[Sample]:
        """Speaks lines with the model, or the adapter, in a folder."""
        is_lora = recipe.model.method == "lora"
        tts = FireRedTTS2(
            recipe.model.checkpoint if is_lora else folder,
            recipe.model.gen_type,
            device,
            num_slots=1,
            adapter=folder if is_lora else None,
        )
        listens = recipe.samples.word_errors
        return [
            self._sample(tts, line, self._heard_by(line.language) if listens else None)
            for line in lines
        ]

    def _sample(self, tts: FireRedTTS2, line: SampleLine, listen: Listener | None) -> Sample:
        voice = Voice("prompt", line.prompt_codes, line.prompt_text, line.language)
        try:
            speech = tts.say(
                line.text, voice, seed=SEED, on_runaway="cut", turn_limit_ms=MAX_SAMPLE_MS, takes=1
            )
        except (SpeechError, ValueError) as error:
            log.warning("sample %s: %s", line.name, error)
            audio = np.zeros(0, np.float32)  # all its words are errors
        else:
            audio = speech.audio.numpy()
        return Sample(audio, *listen(line.text, audio)) if listen else Sample(audio)

    def _heard_by(self, language: str) -> Listener | None:
        """Whisper, loaded once; None, said once, where the evaluation extra is missing."""
        if language not in self._listeners:
            self._listeners[language] = None
            try:
                self._listeners[language] = whisper_listener(language)
            except (ImportError, RuntimeError, ValueError, OSError) as error:
                log.warning("samples are spoken, but no word errors are counted: %s", error)
        return self._listeners[language]


def whisper_listener(language: str) -> Listener:
    """(text, audio at 24 kHz) -> word errors and words.

    Raises:
        ImportError: the evaluation extra is not installed.
        RuntimeError: Whisper's weights could not be fetched.
    """
    import torch

    from fireredtts2.audio import resample
    from fireredtts2.config import INPUT_RATE_HZ, OUTPUT_RATE_HZ
    from fireredtts2.evaluation.asr import WhisperTranscriber, whisper_normalizer
    from fireredtts2.evaluation.asr_model import asr_model_folder
    from fireredtts2.evaluation.metrics import word_errors

    normalize = whisper_normalizer(language)
    transcriber: Any = WhisperTranscriber(asr_model_folder(), language=language)

    def listen(text: str, audio: np.ndarray) -> tuple[int, int]:
        wanted = normalize(text)
        if not wanted.split():
            return 0, 0  # "Mm-hmm." is speech without a word that could be wrong
        heard = resample(torch.from_numpy(audio), OUTPUT_RATE_HZ, INPUT_RATE_HZ).numpy()
        count = word_errors(wanted, normalize(transcriber.transcribe(heard)))
        return count.errors, count.length

    return listen
