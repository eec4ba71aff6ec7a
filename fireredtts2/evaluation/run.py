"""Runs the chosen parts of the evaluation and writes the report."""

from __future__ import annotations

import logging
import platform
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import torch

from fireredtts2.checkpoint import CheckpointFolder
from fireredtts2.evaluation.asr import ENGLISH
from fireredtts2.evaluation.checksum import code_fingerprint, model_fingerprint
from fireredtts2.evaluation.clone_part import clone_part, draw_items, make_studio
from fireredtts2.evaluation.clone_readers import read_set
from fireredtts2.evaluation.clone_sets import SetSource
from fireredtts2.evaluation.codec_part import Decoder, codec_part, codec_part_missing
from fireredtts2.evaluation.codec_round_trip import Codec
from fireredtts2.evaluation.corpus import HeldOutClip, draw_clips, read_held_out
from fireredtts2.evaluation.items import dialogue_items, extra_items, sentence_items
from fireredtts2.evaluation.judges import Judges
from fireredtts2.evaluation.page.render import write_page
from fireredtts2.evaluation.parts import dialogue_part, runaways_part, sentences_part
from fireredtts2.evaluation.profiles import voice_profiles
from fireredtts2.evaluation.report import Part, write_report
from fireredtts2.evaluation.scorer import Scorer
from fireredtts2.evaluation.sets import load_dialogues, load_sentences
from fireredtts2.evaluation.settings import PARTS, EvaluationConfig, PartName
from fireredtts2.evaluation.speaker import VoiceProfile
from fireredtts2.evaluation.speed import SpeedRequest, run_probe, speed_part
from fireredtts2.evaluation.synthesis import Item, Speaker, Studio
from fireredtts2.voices import Voice, VoiceLibrary

__all__ = ["PARTS", "Evaluation", "EvaluationConfig", "PartName", "TextToSpeech"]

logger = logging.getLogger(__name__)

PACKAGE = Path(__file__).parents[1]


class TextToSpeech(Speaker, Protocol):
    """`FireRedTTS2` as the evaluation sees it: it speaks, and has a codec on a device."""

    @property
    def codec(self) -> Codec: ...

    @property
    def device(self) -> torch.device: ...

    def make_voice(self, name: str, wav: Any, text: str) -> Voice: ...


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
        for source in self.config.sets:
            logger.info("measuring %s", source.part_name)
            self.clone_set(source).save(self._set_path(source.part_name), self.about)
        parts = self._found_parts()
        out = self.config.out
        write_report(out, self.about, parts)
        write_page(out / "report.html", self.about, parts, out, self.config.page_items)
        return parts

    def _found_parts(self) -> list[Part]:
        """The parts measured now and before, those of sets last."""
        paths = [self._part_path(name) for name in PARTS]
        paths += sorted(self._set_path("").parent.glob("set_*.json"))
        found = [Part.load(path, self.about) for path in paths]
        return [part for part in found if part is not None]

    # --- Parts --------------------------------------------------------------------------------

    def sentences(self) -> Part:
        return sentences_part(self.studio, self._sentences, self.scorer, self.profiles)

    def dialogue(self) -> Part:
        return dialogue_part(self.studio, self._dialogues, self.scorer, self.profiles)

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
        folder = self.config.out / "audio" / "codec"
        decoder = Decoder(self.tts.codec, folder, self._model_id, self.tts.device)
        return codec_part(decoder, clips, self.scorer, self.config.out)

    def clone_set(self, source: SetSource) -> Part:
        """Speaks a set from disk in the voices of its prompts."""
        config = self.config
        items = draw_items(read_set(source, config.seed), config.set_items, config.seed)
        studio = make_studio(self.tts, items, config.out / "audio", self._model_id)
        scorer = self.scorer
        if config.language != ENGLISH:
            scorer = Scorer.in_folder(self._set_judges, config.out / "judged")
        return clone_part(source, items, studio, scorer, config.seed, config.language)

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
    def _set_judges(self) -> Judges:
        config = self.config
        return Judges.load(config.asr_model, config.threads, config.language)

    @cached_property
    def scorer(self) -> Scorer:
        return Scorer.in_folder(self.judges, self.config.out / "judged")

    @cached_property
    def voices(self) -> dict[str, Voice]:
        """The model's own named voices, not those that the user has added."""
        library = VoiceLibrary([self.folder.voices_path])
        return {name: library.get(name) for name in library.list()}

    @cached_property
    def studio(self) -> Studio:
        if not self.voices:
            raise ValueError(f"{self.folder.voices_path}: no named voices to speak in")
        return Studio(self.tts, self.voices, self.config.out / "audio", self._model_id)

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

    @property
    def _model_id(self) -> str:
        """Which weights and code speak: audio of others is made anew."""
        return f"{self.about['weights']} {self.about['code']}"

    def _part_path(self, name: PartName) -> Path:
        return self.config.out / "parts" / f"{name}.json"

    def _set_path(self, name: str) -> Path:
        return self.config.out / "parts" / f"set_{name}.json"

    def _default_tts(self) -> TextToSpeech:
        from fireredtts2.fireredtts2 import FireRedTTS2

        tts: TextToSpeech = FireRedTTS2(self.config.model, device=self.config.device)
        return tts

    def _default_judges(self) -> Judges:
        return Judges.load(self.config.asr_model, self.config.threads)
