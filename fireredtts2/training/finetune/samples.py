"""Audio samples while a model learns: what is to be spoken, where it is written and told of.

Who speaks is given from above (`SampleSpeaker`), since training knows no engine.
"""

from __future__ import annotations

import logging
import random
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import soundfile
import torch
from torch import Tensor

from fireredtts2.checkpoint import CheckpointFolder
from fireredtts2.config import OUTPUT_RATE_HZ
from fireredtts2.llm.dual_transformer import DualTransformer
from fireredtts2.training.finetune.export import write_model
from fireredtts2.training.finetune.journal import Journal
from fireredtts2.training.finetune.material import Material
from fireredtts2.training.finetune.recipe import Recipe

log = logging.getLogger(__name__)
FOLDER, PART = "samples", "samples"
SPOKEN_FROM = ".samples"


@dataclass(frozen=True, eq=False)
class SampleLine:
    """One text to be spoken, after a clip of the voice that is to speak it.

    Attributes:
        name: of the sample, the same at every step.
        text: to be spoken, as typed.
        prompt_text: what is said in the clip.
        prompt_codes: the clip, (Q, frames) int64.
        language: of both, ISO 639-1.
    """

    name: str
    text: str
    prompt_text: str
    prompt_codes: Tensor
    language: str = "en"


@dataclass(frozen=True, eq=False)
class Sample:
    """What was spoken: audio (samples,) float32 at 24 kHz, empty where nothing was.

    `word_errors` and `num_words` are those of a listener; None where nobody listened.
    """

    audio: np.ndarray
    word_errors: int | None = None
    num_words: int | None = None


class SampleSpeaker(Protocol):
    """Speaks lines with the model, or the base with an adapter, that lies in a folder."""

    def __call__(
        self, recipe: Recipe, folder: Path, device: str, lines: Sequence[SampleLine]
    ) -> list[Sample]: ...


def sample_lines(material: Material | None, recipe: Recipe) -> list[SampleLine]:
    """Texts of the first validation clips, or the recipe's, each after another clip of its voice.

    Raises:
        ValueError: the recipe asks for samples and no clip can serve as a prompt.
    """
    texts = recipe.samples.texts
    wanted = recipe.samples.count or len(texts)
    if not wanted:
        return []
    singles = (
        [n for n, sample in enumerate(material.samples) if len(sample) == 1] if material else []
    )
    if material is None or not singles:
        key = "samples.count" if recipe.samples.count else "samples.texts"
        raise ValueError(
            f"{key}: the data set's validation split has no single clip to speak after; leave it "
            "out, or prepare the data set with a validation split"
        )
    lines = []
    for count in range(wanted):
        own = singles[count % len(singles)]
        sample = material.split[material.indices[own]]
        segment = sample.segments[0]
        others = [n for n in material.by_voice.get(segment.voice or "", ()) if n != own]
        # Where a voice has one clip, it is spoken after itself.
        prompt = others[count % len(others)] if others else own
        before = material.split[material.indices[prompt]].segments[0]
        lines.append(
            SampleLine(
                name=f"{count:02d}",
                text=texts[count % len(texts)] if texts else segment.text,
                prompt_text=before.text,
                prompt_codes=material.codes(prompt, 0),
                language=sample.language or "en",
            )
        )
    return lines


class Samples:
    """Has lines spoken at a step, writes them to `run.out`/samples/step_N, tells the journal."""

    def __init__(
        self, recipe: Recipe, lines: Sequence[SampleLine], speaker: SampleSpeaker, journal: Journal
    ) -> None:
        self.recipe, self.lines = recipe, list(lines)
        self.speaker, self.journal = speaker, journal
        self.out = Path(recipe.run.out)

    def is_due(self, step: int, validates: bool) -> bool:
        every = self.recipe.samples.every
        return bool(self.lines) and (step % every == 0 if every else validates)

    def speak(
        self,
        step: int,
        device: str,
        checkpoint: CheckpointFolder,
        model: DualTransformer,
        weights: dict[str, Tensor],
    ) -> None:
        """Speaks with weights as they are now.

        A sample that cannot be spoken is counted, and ends nothing.

        Args:
            step: updates done.
            device: where to speak.
            checkpoint: that the run began with.
            model: that learns.
            weights: the trained tensors, whole.
        """
        with _random_state_kept(), _empty_folder(self.out / SPOKEN_FROM) as temporary:
            folder = temporary / "model"
            write_model(folder, checkpoint, self.recipe, model, weights, step, links=True)
            spoken = self.speaker(self.recipe, folder, device, self.lines)
        self._tell(step, spoken)

    def _tell(self, step: int, spoken: Sequence[Sample]) -> None:
        folder = self.out / FOLDER / f"step_{step}"
        folder.mkdir(parents=True, exist_ok=True)
        for line, sample in zip(self.lines, spoken, strict=True):
            if not sample.audio.size:
                continue
            soundfile.write(folder / f"{line.name}.wav", sample.audio, OUTPUT_RATE_HZ)
            self.journal.write_audio(
                step, f"{PART}/{line.name}", sample.audio, OUTPUT_RATE_HZ, line.text
            )
        heard = [s for s in spoken if s.word_errors is not None and s.num_words]
        values = {
            "seconds": sum(s.audio.size for s in spoken) / OUTPUT_RATE_HZ,
            "failed": float(sum(not s.audio.size for s in spoken)),
        }
        if heard:
            errors = sum(s.word_errors or 0 for s in heard)
            values["word_error_rate"] = errors / sum(s.num_words or 0 for s in heard)
        self.journal.write(step, PART, values)


@contextmanager
def _empty_folder(path: Path) -> Iterator[Path]:
    """Lends a folder for a while, without what a killed run left in it."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _random_state_kept() -> Iterator[None]:
    """What is drawn inside is not missed outside."""
    python, numbers, threads = random.getstate(), np.random.get_state(), torch.get_num_threads()
    with torch.random.fork_rng():
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numbers)
            torch.set_num_threads(threads)
