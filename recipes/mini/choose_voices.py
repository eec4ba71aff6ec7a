"""Step 10: the clip that each named voice ships as: the one that the model follows best.

    python -m recipes.mini.choose_voices WORK_DIR [MODEL_DIR]

Every clip that may be a prompt is decoded and compared with recordings of its voice that were never
trained on, and that the evaluation does not compare with; with the nearest few the model speaks
some sentences, and the clip after which they are most like the voice, with the fewest wrong words,
replaces the one that `export` wrote. Needs the evaluation extra. The sentences are none of the
evaluation's.
"""

from __future__ import annotations

import logging
import sys
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import soxr
import torch

from fireredtts2 import FireRedTTS2
from fireredtts2.config import INPUT_RATE_HZ, OUTPUT_RATE_HZ
from fireredtts2.evaluation.corpus import MIN_RECORDING_S
from fireredtts2.evaluation.judges import Judges
from fireredtts2.evaluation.metrics import ErrorCount, pooled, word_errors
from fireredtts2.evaluation.profiles import RECORDINGS_PER_VOICE
from fireredtts2.evaluation.speaker import VoiceProfile
from fireredtts2.training.corpus import (
    PCM_SCALE,
    Row,
    is_held_out,
    open_samples,
    read_codes,
    read_index,
)
from fireredtts2.voices import Voice
from recipes.mini.export import may_be_prompt
from recipes.mini.settings import settings
from recipes.mini.train_llm import MODEL

log = logging.getLogger(__name__)
RECORDINGS = 12  # of a voice, to compare with
CANDIDATES = 30  # clips of a voice that are decoded
FINALISTS = 5  # of these, the ones that the model speaks with
SENTENCES = (
    "The kettle is on, so sit down and tell me about your trip.",
    "We walked along the river until it was too dark to see the path.",
    "If you have a question, please write it down and hand it to me later.",
    "My brother plays the piano, but he never learned to read the notes.",
)
#: What a wrong word weighs beside the cosine: one in ten is worth 0.05.
ERROR_WEIGHT = 0.5


class Chooser:
    """Finds the best prompt of each voice.

    Args:
        work: the recipe's folder.
        model: the folder that `export` wrote.
    """

    def __init__(self, work: Path, model: Path) -> None:
        self.tts = FireRedTTS2(model, device="cpu")
        self.judges = Judges.load()
        self.samples, self.codes = open_samples(work), dict(read_codes(work))
        self.rows: dict[str, list[Row]] = defaultdict(list)
        for row in read_index(work).values():
            self.rows[row["speaker"]].append(row)

    def best(self, speaker: str) -> Voice:
        """The voice by its best clip.

        Raises:
            ValueError: the corpus has too few recordings of it, or none that may be a prompt.
        """
        own = np.stack([self._embedding(self._recording(r)) for r in self._recordings(speaker)])
        profile = VoiceProfile(speaker, own, "recordings")
        near = []
        for row in self._candidates(speaker):
            voice = self._voice(row)
            audio = self.tts.codec.decode(self._heard(voice)[None])[0].numpy()
            near.append((profile.similarity(self._embedding(audio)), row["id"], voice))
        if not near:
            raise ValueError(f"{speaker}: no clip in the corpus that may be its prompt")
        near.sort(key=lambda one: -one[0])
        scored = [(self._score(voice, profile), voice) for _, _, voice in near[:FINALISTS]]
        score, voice = max(scored, key=lambda one: one[0])
        log.info("%s: %.3f (the others %s): %s", speaker, score,
                 " ".join(f"{one:.3f}" for one, _ in scored), voice.text)  # fmt: skip
        return voice

    def _score(self, voice: Voice, profile: VoiceProfile) -> float:
        """How well the model speaks with a prompt: likeness, less what wrong words weigh."""
        spoken = [
            self.tts.say(text, voice, seed=seed, on_runaway="cut", takes=1).audio.numpy()
            for seed, text in enumerate(SENTENCES)
        ]
        likeness = np.mean([profile.similarity(self._embedding(audio)) for audio in spoken])
        errors = pooled(map(self._errors, SENTENCES, spoken)).rate
        return float(likeness - ERROR_WEIGHT * errors)

    def _errors(self, text: str, audio: np.ndarray) -> ErrorCount:
        normalize = self.judges.normalize
        heard = self.judges.transcriber.transcribe(at_16_khz(audio))
        return word_errors(normalize(text), normalize(heard))

    def _recordings(self, speaker: str) -> list[Row]:
        long = MIN_RECORDING_S * OUTPUT_RATE_HZ
        held_out = [r for r in self.rows[speaker] if is_held_out(r["id"]) and r["samples"] >= long]
        # NOTE: the first are the evaluation's, which must not judge by what was chosen by.
        chosen = held_out[RECORDINGS_PER_VOICE:][:RECORDINGS]
        if not chosen:
            raise ValueError(
                f"{speaker}: the corpus has {len(held_out)} held-out recordings of this voice; "
                f"more than {RECORDINGS_PER_VOICE} are needed: the first are the evaluation's"
            )
        return chosen

    def _candidates(self, speaker: str) -> Iterator[Row]:
        fitting = [r for r in self.rows[speaker] if may_be_prompt(r) and r["id"] in self.codes]
        # Spread over the corpus, always the same ones.
        yield from fitting[:: max(1, len(fitting) // CANDIDATES)][:CANDIDATES]

    def _voice(self, row: Row) -> Voice:
        return Voice(
            name=row["speaker"],
            codes=torch.from_numpy(self.codes[row["id"]]).long(),
            text=row["text"],
            codec_id=self.tts.voices.codec_id,
            source_samples=row["samples"] * INPUT_RATE_HZ // OUTPUT_RATE_HZ,
        )

    def _heard(self, voice: Voice) -> torch.Tensor:
        """The codes (Q, T) that the language model reads."""
        return voice.codes[: settings()["llm"]["audio_num_codebooks"]]

    def _recording(self, row: Row) -> np.ndarray:
        samples = self.samples[row["offset"] : row["offset"] + row["samples"]]
        return samples.astype(np.float32) / PCM_SCALE

    def _embedding(self, audio: np.ndarray) -> np.ndarray:
        """(256,) of audio at 24 kHz."""
        assert self.judges.speaker is not None
        return self.judges.speaker.embed(at_16_khz(audio))


def at_16_khz(audio: np.ndarray) -> np.ndarray:
    """Audio (n,) at 24 kHz as judges hear it."""
    return soxr.resample(audio, OUTPUT_RATE_HZ, INPUT_RATE_HZ)


def main(work_dir: str, model_dir: str = str(MODEL), *speakers: str) -> None:
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    model = Path(model_dir)
    chooser = Chooser(Path(work_dir), model)
    for name in named(speakers or chooser.tts.voices.list()):
        chooser.best(name).save(model / "voices" / f"{name}.safetensors")


def named(voices: Sequence[str]) -> list[str]:
    """The corpus's named voices among them."""
    return [name for name in voices if name[2:3] == "_"]


if __name__ == "__main__":
    main(*sys.argv[1:])
