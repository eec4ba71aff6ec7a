"""Runs the chosen parts of the evaluation and writes the report."""

from __future__ import annotations

import logging
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

import torch

from fireredtts2.checkpoint import CheckpointFolder
from fireredtts2.evaluation.checksum import code_fingerprint, model_fingerprint
from fireredtts2.evaluation.codec_round_trip import Codec
from fireredtts2.evaluation.corpus import HeldOutClip, draw_clips, read_held_out
from fireredtts2.evaluation.goals import RUNAWAY_TURNS
from fireredtts2.evaluation.items import dialogue_items, extra_items, sentence_items
from fireredtts2.evaluation.judges import Judges
from fireredtts2.evaluation.parts import (
    codec_part,
    codec_part_missing,
    dialogue_part,
    runaways_part,
    sentences_part,
)
from fireredtts2.evaluation.profiles import voice_profiles
from fireredtts2.evaluation.report import Part, write_report
from fireredtts2.evaluation.sets import load_dialogues, load_sentences
from fireredtts2.evaluation.speaker import VoiceProfile
from fireredtts2.evaluation.speed import SpeedRequest, run_probe, speed_part
from fireredtts2.evaluation.synthesis import Item, Speaker, Studio
from fireredtts2.voices import Voice, VoiceLibrary

logger = logging.getLogger(__name__)

PartName = Literal["wer", "dialogue", "runaways", "codec", "speed"]
PACKAGE = Path(__file__).parents[1]
PARTS: tuple[PartName, ...] = get_args(PartName)


class TextToSpeech(Speaker, Protocol):
    """`FireRedTTS2` as the evaluation sees it: it speaks, and has a codec on a device."""

    @property
    def codec(self) -> Codec: ...

    @property
    def device(self) -> torch.device: ...


@dataclass(frozen=True)
class EvaluationConfig:
    """What is measured.

    Attributes:
        model: "mini" or a checkpoint folder.
        out: Folder of the report and the audio; what lies there of the same model is used again.
        parts: Which parts; the report also shows parts of earlier runs of the same settings.
        corpus: Folder of the speech corpus, for the codec part and the voices' recordings.
        runaway_turns: How many turns the count of runaways wants in all.
        threads: CPU threads of the judges.
    """

    model: str
    out: Path
    parts: Sequence[PartName] = PARTS
    sentences: int = 100
    dialogues: int = 10
    codec_clips: int = 50
    runaway_turns: int = RUNAWAY_TURNS
    corpus: Path | None = None
    asr_model: Path | None = None
    device: str = "auto"
    threads: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        unknown = [part for part in self.parts if part not in PARTS]
        if unknown or not self.parts:
            raise ValueError(f"unknown parts {unknown}; parts: {', '.join(PARTS)}")
        if self.codec_clips < 1 or self.runaway_turns < 0 or self.threads < 1:
            raise ValueError(
                "codec_clips and threads must be at least 1, runaway_turns at least 0; got "
                f"{self.codec_clips}, {self.threads}, {self.runaway_turns}"
            )


class Evaluation:
    """One run. What is dear (model, judges, corpus) is loaded when a part first needs it.

    Args:
        config: What to measure.
        load_tts: Loads the model; `FireRedTTS2` by default.
        load_judges: Loads the judges; `Judges.load` by default.
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

    def run(self) -> list[Part]:
        """Measures the chosen parts; returns them and those of earlier runs, in order."""
        measure: Mapping[PartName, Callable[[], Part]] = {
            "wer": self.sentences,
            "dialogue": self.dialogue,
            "runaways": self.runaways,
            "codec": self.codec,
            "speed": self.speed,
        }
        for name in PARTS:
            if name in self.config.parts:
                logger.info("measuring %s", name)
                measure[name]().save(self._part_path(name), self.about)
        found = [Part.load(self._part_path(name), self.about) for name in PARTS]
        parts = [part for part in found if part is not None]
        write_report(self.config.out, self.about, parts)
        return parts

    # --- Parts --------------------------------------------------------------------------------

    def sentences(self) -> Part:
        return sentences_part(self.studio, self._sentences, self.judges, self.profiles)

    def dialogue(self) -> Part:
        return dialogue_part(self.studio, self._dialogues, self.judges, self.profiles)

    def runaways(self) -> Part:
        items = [*self._sentences, *self._dialogues]
        more = self.config.runaway_turns - sum(len(item.lines) for item in items)
        sentences, names = load_sentences(self.config.sentences), self.studio.voice_names
        items += extra_items(sentences, names, self.config.seed, max(0, more))
        return runaways_part(self.studio, items)

    def codec(self) -> Part:
        if not self.clips:
            return codec_part_missing("no held-out clips: name the corpus folder (--corpus)")
        clips = draw_clips(self.clips, self.config.codec_clips, self.config.seed)
        return codec_part(self.tts.codec, clips, self.judges, self.tts.device)

    def speed(self) -> Part:
        request = SpeedRequest.usual(sorted(self.voices), self.config.seed)
        return speed_part(run_probe(str(self.config.model), request))

    # --- What they share ----------------------------------------------------------------------

    @cached_property
    def about(self) -> dict[str, Any]:
        """What was measured; parts with another `about` are of another report."""
        config = self.config
        return {
            "model": str(config.model),
            "weights": model_fingerprint(self.folder.path),
            "code": code_fingerprint(PACKAGE),
            "seed": config.seed,
            "sentences": config.sentences,
            "dialogues": config.dialogues,
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
    def voices(self) -> dict[str, Voice]:
        """The model's own named voices, not those that the user has added."""
        library = VoiceLibrary([self.folder.voices_path])
        return {name: library.get(name) for name in library.list()}

    @cached_property
    def studio(self) -> Studio:
        if not self.voices:
            raise ValueError(f"{self.folder.voices_path}: no named voices to speak in")
        audio = self.config.out / "audio"
        return Studio(self.tts, self.voices, audio, f"{self.about['weights']} {self.about['code']}")

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
    def _sentences(self) -> list[Item]:
        sentences = load_sentences(self.config.sentences)
        return sentence_items(sentences, self.studio.voice_names, self.config.seed)

    @cached_property
    def _dialogues(self) -> list[Item]:
        dialogues = load_dialogues(self.config.dialogues)
        return dialogue_items(dialogues, self.studio.voice_names, self.config.seed)

    def _part_path(self, name: PartName) -> Path:
        return self.config.out / "parts" / f"{name}.json"

    def _default_tts(self) -> TextToSpeech:
        from fireredtts2.fireredtts2 import FireRedTTS2

        tts: TextToSpeech = FireRedTTS2(self.config.model, device=self.config.device)
        return tts

    def _default_judges(self) -> Judges:
        return Judges.load(self.config.asr_model, self.config.threads)
