"""What the parts of an evaluation are made with, loaded when a part first needs it."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import torch

from fireredtts2.checkpoint import CheckpointFolder
from fireredtts2.evaluation.asr import ENGLISH
from fireredtts2.evaluation.checksum import code_fingerprint, model_fingerprint
from fireredtts2.evaluation.codec_round_trip import Codec
from fireredtts2.evaluation.corpus import HeldOutClip, read_held_out
from fireredtts2.evaluation.items import dialogue_items, sentence_items
from fireredtts2.evaluation.judges import Judges
from fireredtts2.evaluation.long_part import long_item
from fireredtts2.evaluation.profiles import voice_profiles
from fireredtts2.evaluation.scorer import Scorer
from fireredtts2.evaluation.sets import load_dialogues, load_sentences
from fireredtts2.evaluation.settings import EvaluationConfig
from fireredtts2.evaluation.speaker import VoiceProfile
from fireredtts2.evaluation.synthesis import Item, Speaker, Studio
from fireredtts2.voices import Voice, VoiceLibrary

PACKAGE = Path(__file__).parents[1]


class TextToSpeech(Speaker, Protocol):
    """`FireRedTTS2` as the evaluation sees it: it speaks, and has a codec on a device."""

    @property
    def codec(self) -> Codec: ...

    @property
    def device(self) -> torch.device: ...

    def make_voice(self, name: str, wav: Any, text: str) -> Voice: ...


class Materials:
    """The model, the judges, the voices, the corpus, and what is spoken.

    Args:
        config: What is measured.
        load_tts: Loads the model; `FireRedTTS2` by default.
        load_judges: Loads the judges; `Judges.load` by default.

    Raises:
        ValueError: `config.model` is no checkpoint.
    """

    def __init__(
        self,
        config: EvaluationConfig,
        load_tts: Callable[[], TextToSpeech] | None = None,
        load_judges: Callable[[], Judges] | None = None,
    ) -> None:
        self.config = config
        self.folder = CheckpointFolder(config.model)
        self._load_tts = load_tts or self._default_tts
        self._load_judges = load_judges or self._default_judges

    @cached_property
    def about(self) -> dict[str, Any]:
        """What was measured, and on what; parts with another `about` are of another report.

        On how much is not in it: every figure has its own count.
        """
        config = self.config
        return {
            "model": os.path.normpath(config.model),
            "weights": model_fingerprint(self.folder),
            "code": code_fingerprint(PACKAGE),
            "seed": config.seed,
            "spoken": "as streams" if config.streams else "whole",
            "device": config.device,
            "machine": f"{platform.system()} {platform.machine()}",
            "python": platform.python_version(),
            "torch": torch.__version__,
        }

    @cached_property
    def tts(self) -> TextToSpeech:
        return self._load_tts()

    @cached_property
    def judges(self) -> Judges:
        return self._load_judges()

    @cached_property
    def scorer(self) -> Scorer:
        return Scorer.in_folder(self.judges, self.config.out / "judged")

    @cached_property
    def set_scorer(self) -> Scorer:
        """Who judges sets, which may be in another language than our own sentences."""
        config = self.config
        if config.language == ENGLISH:
            return self.scorer
        judges = Judges.load(config.asr_model, config.threads, config.language)
        return Scorer.in_folder(judges, config.out / "judged")

    @cached_property
    def voices(self) -> dict[str, Voice]:
        """The model's own named voices, not those that the user has added."""
        library = VoiceLibrary([self.folder.voices_path])
        return {name: library.get(name) for name in library.list()}

    @cached_property
    def studio(self) -> Studio:
        return Studio(self.tts, self.voices, self.config.out / "audio", self.model_id)

    @cached_property
    def clips(self) -> list[HeldOutClip]:
        return read_held_out(self.config.corpus) if self.config.corpus else []

    @cached_property
    def profiles(self) -> dict[str, VoiceProfile]:
        if self.judges.speaker is None:
            return {}
        return voice_profiles(
            self.voices, self.clips, self.tts.codec, self.judges.speaker, self.tts.device
        )

    @cached_property
    def sentences(self) -> list[Item]:
        sentences = load_sentences(self.config.sentences)
        return sentence_items(sentences, sorted(self.voices), self.config.seed)

    @cached_property
    def dialogues(self) -> list[Item]:
        dialogues = load_dialogues(self.config.dialogues)
        return dialogue_items(dialogues, sorted(self.voices), self.config.seed)

    @cached_property
    def long_dialogue(self) -> Item:
        dialogues, config = load_dialogues(self.config.dialogues), self.config
        return long_item(dialogues, sorted(self.voices), config.seed, config.long_minutes)

    @property
    def model_id(self) -> str:
        """Which weights and code speak, where and how: audio of others is made anew."""
        return " ".join(self.about[key] for key in ("weights", "code", "device", "spoken"))

    def _default_tts(self) -> TextToSpeech:
        from fireredtts2.evaluation.streams import HeardAsStreams
        from fireredtts2.fireredtts2 import FireRedTTS2

        kind = HeardAsStreams if self.config.streams else FireRedTTS2
        tts: TextToSpeech = kind(self.config.model, device=self.config.device)
        return tts

    def _default_judges(self) -> Judges:
        return Judges.load(self.config.asr_model, self.config.threads)
