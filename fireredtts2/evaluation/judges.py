"""The judges of a clip, loaded once: who hears, who knows voices, who scores quality."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from fireredtts2.evaluation.asr import (
    ENGLISH,
    UNSPACED,
    Transcriber,
    WhisperTranscriber,
    whisper_normalizer,
)
from fireredtts2.evaluation.asr_model import asr_model_folder, recogniser_name
from fireredtts2.evaluation.intrusive import FidelityJudge, PesqAndStoi
from fireredtts2.evaluation.prosody import PitchTracker, PyinTracker
from fireredtts2.evaluation.quality import Dnsmos, QualityJudge
from fireredtts2.evaluation.speaker import ResemblyzerEncoder, SpeakerEncoder


@dataclass(frozen=True)
class Judges:
    """What clips are scored with. All audio goes in at 16 kHz.

    Attributes:
        is_unspaced: `normalize` puts spaces between all characters, which are then the words.
    """

    transcriber: Transcriber
    normalize: Callable[[str], str]
    speaker: SpeakerEncoder | None = None
    quality: QualityJudge | None = None
    recogniser: str = "a transcriber of the caller's"
    pitch: PitchTracker | None = None
    fidelity: FidelityJudge | None = None
    is_unspaced: bool = False

    @property
    def members(self) -> tuple[object, ...]:
        """All judges, the missing ones as None."""
        return (self.transcriber, self.speaker, self.quality, self.pitch, self.fidelity)

    @classmethod
    def load(
        cls, asr_model: str | Path | None = None, threads: int = 1, language: str = ENGLISH
    ) -> Judges:
        """Loads all judges.

        Args:
            asr_model: CTranslate2 Whisper folder; by default see `asr_model_folder`.
            threads: CPU threads of each judge.
            language: What is spoken, as Whisper names it ("en", "zh").

        Raises:
            MissingPackageError: A package of the `evaluation` extra is not installed.
            ValueError: The recogniser does not know the language.
        """
        normalize = whisper_normalizer(language)
        speaker, quality = ResemblyzerEncoder(), Dnsmos(threads)
        folder = asr_model_folder(asr_model)
        transcriber = WhisperTranscriber(folder, threads, language)
        name = recogniser_name(folder)
        if language != ENGLISH:
            name += f" in {language!r}"
        others = speaker, quality, name, PyinTracker(), PesqAndStoi()
        return cls(transcriber, normalize, *others, is_unspaced=language in UNSPACED)
