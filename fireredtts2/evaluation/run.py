"""Runs the chosen parts of the evaluation and writes the report."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from pathlib import Path

from fireredtts2.evaluation.clone_part import clone_part, draw_items, make_studio
from fireredtts2.evaluation.clone_readers import read_set
from fireredtts2.evaluation.clone_sets import CloneItem, SetSource
from fireredtts2.evaluation.codec_part import Decoder, codec_part
from fireredtts2.evaluation.corpus import draw_clips
from fireredtts2.evaluation.items import extra_items
from fireredtts2.evaluation.judges import Judges
from fireredtts2.evaluation.long_part import long_part
from fireredtts2.evaluation.materials import Materials, TextToSpeech
from fireredtts2.evaluation.missing import missing_part
from fireredtts2.evaluation.page.render import write_page
from fireredtts2.evaluation.parts import dialogue_part, runaways_part, sentences_part
from fireredtts2.evaluation.report import Part, write_report
from fireredtts2.evaluation.sets import DIALOGUE_VOICES, load_sentences
from fireredtts2.evaluation.settings import PARTS, EvaluationConfig, PartName
from fireredtts2.evaluation.speed import SpeedRequest, run_probe, speed_part

__all__ = [
    "PARTS",
    "Evaluation",
    "EvaluationConfig",
    "EvaluationError",
    "PartName",
    "TextToSpeech",
]

logger = logging.getLogger(__name__)

REPORT_NAMES: Mapping[PartName, str] = {"wer": "sentences"}  # the others are called alike
#: Faults of what was given or of the machine; any other is one of ours and shown with its trace.
EXPECTED_ERRORS = (ImportError, OSError, RuntimeError, ValueError)


class EvaluationError(RuntimeError):
    """Parts failed; the report of the others is written all the same."""


class Evaluation:
    """One run. What is dear (model, judges, corpus) is loaded when a part first needs it.

    Args:
        config: What to measure.
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
        self.materials = Materials(config, load_tts, load_judges)

    def run(self) -> list[Part]:
        """Measures the chosen parts; returns them and those of earlier runs, in order.

        A part that fails does not keep the others from being measured; the report says why.

        Raises:
            ValueError: A set cannot be read; nothing was measured.
            EvaluationError: Parts failed. The report is written before.
        """
        failed: dict[Path, Part] = {}
        for name, path, measure in self._jobs():
            logger.info("measuring %s", name)
            try:
                self._keep(measure(), path)
            except Exception as error:  # hours of the other parts are not lost to this one
                is_ours = not isinstance(error, EXPECTED_ERRORS)
                logger.error("%s failed: %s", name, error, exc_info=is_ours)
                reason = str(error) or type(error).__name__
                failed[path] = missing_part(name, f"it failed: {reason}")
        about, out, parts = self.materials.about, self.config.out, self._found_parts(failed)
        write_report(out, about, parts)
        write_page(out / "report.html", about, parts, out, self.config.page_items)
        if failed:
            raise EvaluationError(self._failure(failed.values(), parts))
        return parts

    def _keep(self, part: Part, path: Path) -> None:
        """Saves a part; one that says only why it was not measured never replaces figures."""
        if part.is_measured or not self._was_measured(path):
            part.save(path, self.materials.about)
        else:
            logger.warning(
                "%s: %s The report shows it as measured before", part.name, part.notes[0]
            )

    def _was_measured(self, path: Path) -> bool:
        """Whether a part with figures of the same model is kept."""
        before = Part.load(path, self.materials.about)
        return before is not None and before.is_measured

    def _failure(self, failed: Collection[Part], parts: Sequence[Part]) -> str:
        """Which parts failed, and what the report has in their place."""
        measured = {part.name for part in parts if part.is_measured}
        lacking = ", ".join(part.name for part in failed if part.name not in measured)
        older = ", ".join(part.name for part in failed if part.name in measured)
        found = [f"lacks {lacking}: failed, as it says there"] if lacking else []
        found += [f"has {older} as measured before: failed now"] if older else []
        return f"{self.config.out / 'report.md'} {'; it '.join(found)}"

    def _jobs(self) -> list[tuple[str, Path, Callable[[], Part]]]:
        """What is to be measured: its name in the report, where it is kept, and how.

        Raises:
            ValueError: A set cannot be read.
        """
        measure: Mapping[PartName, Callable[[], Part]] = {
            "wer": self.sentences,
            "dialogue": self.dialogue,
            "long": self.long,
            "runaways": self.runaways,
            "codec": self.codec,
            "speed": self.speed,
        }
        chosen = [name for name in PARTS if name in self.config.parts]
        named = [(REPORT_NAMES.get(n, n), self._part_path(n), measure[n]) for n in chosen]
        # Read at once: a line that is not right must not be found after hours of the other parts.
        sets = [(source, read_set(source, self.config.seed)) for source in self.config.sets]
        return [
            *named,
            *(
                (one.part_name, self._set_path(one.part_name), partial(self.clone_set, one, items))
                for one, items in sets
            ),
        ]

    def _found_parts(self, failed: Mapping[Path, Part]) -> list[Part]:
        """The parts measured now and before, those of sets last.

        One that failed is shown as failed only where there are no figures of an earlier run.
        """
        sets = {*self._set_path("").parent.glob("set_*.json"), *failed}
        names = [self._part_path(name) for name in PARTS]
        paths = [*names, *sorted(sets.difference(names))]
        shown = {path: part for path, part in failed.items() if not self._was_measured(path)}
        found = [(path, shown.get(path) or Part.load(path, self.materials.about)) for path in paths]
        for path, part in found:
            if part is None and path.is_file():
                logger.info("%s is left out: of other weights, code, seed or machine", path)
        return [part for _, part in found if part is not None]

    # --- Parts --------------------------------------------------------------------------------

    def sentences(self) -> Part:
        made = self.materials
        if not made.voices:
            return missing_part("sentences", self._lacks_voices(1))
        return sentences_part(made.studio, made.sentences, made.scorer, made.profiles)

    def dialogue(self) -> Part:
        made = self.materials
        if len(made.voices) < DIALOGUE_VOICES:
            return missing_part("dialogue", self._lacks_voices(DIALOGUE_VOICES))
        return dialogue_part(made.studio, made.dialogues, made.scorer, made.profiles)

    def long(self) -> Part:
        made = self.materials
        if len(made.voices) < DIALOGUE_VOICES:
            return missing_part("long", self._lacks_voices(DIALOGUE_VOICES))
        return long_part(made.studio, made.long_dialogue, made.scorer, made.profiles)

    def runaways(self) -> Part:
        made = self.materials
        if not made.voices:
            return missing_part("runaways", self._lacks_voices(1))
        has_pairs = len(made.voices) >= DIALOGUE_VOICES
        items = [*made.sentences, *(made.dialogues if has_pairs else ())]
        more = self.config.runaway_turns - sum(len(item.lines) for item in items)
        sentences, names = load_sentences(self.config.sentences), made.studio.voice_names
        items += extra_items(sentences, names, self.config.seed, max(0, more))
        return runaways_part(made.studio, items)

    def codec(self) -> Part:
        made = self.materials
        if self.config.corpus is None:
            return missing_part("codec", "it needs the corpus folder (--corpus)")
        clips = draw_clips(made.clips, self.config.codec_clips, self.config.seed)
        if not clips:
            return missing_part("codec", f"no held-out sentences in {self.config.corpus}")
        folder = self.config.out / "audio" / "codec"
        decoder = Decoder(made.tts.codec, folder, made.model_id, made.tts.device)
        return codec_part(decoder, clips, made.scorer, self.config.out)

    def clone_set(self, source: SetSource, found: Sequence[CloneItem]) -> Part:
        """Speaks items of a set from disk in the voices of their prompts."""
        made, config = self.materials, self.config
        items = draw_items(found, config.set_items, config.seed)
        folder = config.out / "audio"
        studio = make_studio(made.tts, items, folder, made.model_id, source.adapt)
        return clone_part(source, items, studio, made.set_scorer, config.seed, config.language)

    def speed(self) -> Part:
        made = self.materials
        if len(made.voices) < DIALOGUE_VOICES:
            return missing_part("speed", self._lacks_voices(DIALOGUE_VOICES))
        request = SpeedRequest.usual(sorted(made.voices), self.config.seed)
        return speed_part(run_probe(str(self.config.model), request))

    def _lacks_voices(self, wanted: int) -> str:
        made = self.materials
        return (
            f"it needs {wanted} named voice{'s' if wanted > 1 else ''}, and {len(made.voices)} "
            f"are in {made.folder.voices_path}; a set (--set) brings its own"
        )

    def _part_path(self, name: PartName) -> Path:
        return self.config.out / "parts" / f"{name}.json"

    def _set_path(self, name: str) -> Path:
        return self.config.out / "parts" / f"set_{name}.json"
