"""Speaker similarity: how near a turn is to recordings of a voice (resemblyzer, GE2E)."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np

from fireredtts2.evaluation.extras import load_extra
from fireredtts2.evaluation.metrics import cosine

EMBEDDING_DIM = 256
MIN_SPEECH_SAMPLES = 4_800  # 0.3 s at 16 kHz; with less left, silence is not cut away


class SpeakerEncoder(Protocol):
    """Makes a speaker embedding (256,) of a clip (samples,) float32 at 16 kHz."""

    def embed(self, audio: np.ndarray) -> np.ndarray: ...


class ResemblyzerEncoder:
    """Resemblyzer's voice encoder on the CPU, silence cut away before."""

    def __init__(self) -> None:
        load_extra("webrtcvad")
        load_extra("librosa")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # its imports use names that SciPy is retiring
            self._module = load_extra("resemblyzer")
            self._encoder = self._module.VoiceEncoder("cpu", verbose=False)

    def embed(self, audio: np.ndarray) -> np.ndarray:
        """Returns (256,) of length 1; zeros for digital silence."""
        if not np.any(audio):
            return np.zeros(EMBEDDING_DIM, dtype=np.float32)
        trimmed = self._module.preprocess_wav(audio.astype(np.float32))
        speech = trimmed if len(trimmed) >= MIN_SPEECH_SAMPLES else audio.astype(np.float32)
        return np.asarray(self._encoder.embed_utterance(speech))


@dataclass(frozen=True)
class VoiceProfile:
    """What a voice sounds like: embeddings (N, 256) of recordings of it."""

    name: str
    embeddings: np.ndarray
    source: Literal["recordings", "prompt"]

    def similarity(self, embedding: np.ndarray) -> float:
        """Mean cosine of an embedding (256,) to the voice's recordings, each by itself."""
        return float(np.mean([cosine(embedding, own) for own in self.embeddings]))


def nearest_voice(embedding: np.ndarray, profiles: Mapping[str, VoiceProfile]) -> str:
    """Name of the profile that an embedding (256,) is most similar to."""
    return max(profiles, key=lambda name: profiles[name].similarity(embedding))
