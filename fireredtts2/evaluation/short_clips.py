"""Hearing many short clips at once: Whisper over a window no longer than the longest of them.

Whisper reads 30 s however short a clip is. Over windows of 10 s it takes a sixth of the time and
hears about as well (40 clips of 1 to 7 s: 6.3 % of the characters wrong, 6.1 % over 30 s), which
will do to compare takes with one another; figures are made with `WhisperTranscriber`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from fireredtts2.config import INPUT_RATE_HZ, MEL_HOP_SAMPLES
from fireredtts2.evaluation.asr import ENGLISH, MIN_AUDIO_SAMPLES
from fireredtts2.evaluation.extras import load_extra

MIN_WINDOW_FRAMES = 1_000
MAX_WINDOW_FRAMES = 3_000
CLIPS_AT_ONCE = 16
MAX_TOKENS = 120


class ShortClipTranscriber:
    """English clips of at most 30 s, several in one call, greedy.

    Args:
        folder: CTranslate2 Whisper.
        threads: of the CPU.
    """

    def __init__(self, folder: str | Path, threads: int = 1) -> None:
        faster_whisper = load_extra("faster_whisper")
        self._whisper = faster_whisper.WhisperModel(
            str(folder), device="cpu", compute_type="int8", cpu_threads=threads, num_workers=1
        )
        self._views = load_extra("ctranslate2").StorageView
        self._tokenizer = load_extra("faster_whisper.tokenizer").Tokenizer(
            self._whisper.hf_tokenizer,
            self._whisper.model.is_multilingual,
            task="transcribe",
            language=ENGLISH,
        )

    def transcribe(self, clips: Sequence[np.ndarray]) -> list[str]:
        """What is said in clips (samples,) float32 at 16 kHz.

        Raises:
            ValueError: a clip is longer than 30 s.
        """
        longest = max((len(clip) for clip in clips), default=0)
        if longest > MAX_WINDOW_FRAMES * MEL_HOP_SAMPLES:
            raise ValueError(
                f"a clip of {longest / INPUT_RATE_HZ:.1f} s: at most 30 s can be heard"
            )
        heard = [""] * len(clips)
        # Of about one length, so that windows are short.
        audible = sorted(
            (n for n, clip in enumerate(clips) if len(clip) >= MIN_AUDIO_SAMPLES),
            key=lambda n: len(clips[n]),
        )
        for first in range(0, len(audible), CLIPS_AT_ONCE):
            chosen = audible[first : first + CLIPS_AT_ONCE]
            texts = self._heard([clips[n] for n in chosen])
            for number, text in zip(chosen, texts, strict=True):
                heard[number] = text
        return heard

    def _heard(self, clips: Sequence[np.ndarray]) -> list[str]:
        longest = max(len(clip) for clip in clips)
        frames = max(MIN_WINDOW_FRAMES, -(-longest // MEL_HOP_SAMPLES))
        padded = [np.pad(clip, (0, frames * MEL_HOP_SAMPLES - len(clip))) for clip in clips]
        features = np.stack(
            [self._whisper.feature_extractor(clip, padding=0)[:, :frames] for clip in padded]
        )
        model = self._whisper.model
        encoded = model.encode(self._views.from_array(np.ascontiguousarray(features, np.float32)))
        prompt = [*self._tokenizer.sot_sequence, self._tokenizer.no_timestamps]
        found = model.generate(encoded, [prompt] * len(clips), beam_size=1, max_length=MAX_TOKENS)
        return [self._tokenizer.decode(one.sequences_ids[0]).strip() for one in found]
