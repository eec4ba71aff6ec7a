"""What an evaluation measures, and on how much."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from fireredtts2.evaluation.asr import ENGLISH
from fireredtts2.evaluation.clone_sets import SetSource
from fireredtts2.evaluation.goals import RUNAWAY_TURNS
from fireredtts2.evaluation.page.render import PAGE_ITEMS
from fireredtts2.evaluation.sets import load_dialogues, load_sentences

PartName = Literal["wer", "dialogue", "long", "runaways", "codec", "speed"]
MOST_MINUTES = 240
PARTS: tuple[PartName, ...] = get_args(PartName)


@dataclass(frozen=True)
class EvaluationConfig:
    """What is measured.

    Attributes:
        model: "mini" or a checkpoint folder.
        out: Folder of the report and the audio; what lies there of the same model is used again.
        parts: Which parts; the report also shows those of earlier runs of the same model and seed.
        corpus: Folder of the speech corpus, for the codec part and the voices' recordings.
        runaway_turns: How many turns the count of runaways wants in all.
        threads: CPU threads of the judges.
        sets: Sets from disk, each a part of its own, spoken in the voices of their prompts.
        set_items: How many items of each set; 0 for all.
        language: What the sets are written in, as Whisper names it.
        page_items: How many items of a part the page shows with their sounds.
        long_minutes: How long the long dialogue is to be, about.
        streams: Speak as streams do, which can be judged only as far as there is time.
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
    sets: Sequence[SetSource] = ()
    set_items: int = 100
    language: str = ENGLISH
    page_items: int = PAGE_ITEMS
    long_minutes: float = 10.0
    streams: bool = False

    def __post_init__(self) -> None:
        unknown = [part for part in self.parts if part not in PARTS]
        if unknown:
            raise ValueError(f"unknown parts {unknown}; parts: {', '.join(PARTS)}")
        if not (self.parts or self.sets):
            raise ValueError(f"nothing to measure; parts: {', '.join(PARTS)}, or a set")
        load_sentences(self.sentences)  # a number that is not there is told now
        load_dialogues(self.dialogues)
        if self.seed < 0:
            raise ValueError(f"seed {self.seed}; allowed: 0 or above")
        if self.codec_clips < 1 or self.runaway_turns < 0 or self.threads < 1:
            raise ValueError(
                "codec_clips and threads must be at least 1, runaway_turns at least 0; got "
                f"{self.codec_clips}, {self.threads}, {self.runaway_turns}"
            )
        if self.set_items < 0 or self.page_items < 0:
            given = f"{self.set_items}, {self.page_items}"
            raise ValueError(f"set_items and page_items must be at least 0; got {given}")
        if not 0 < self.long_minutes <= MOST_MINUTES:
            raise ValueError(f"long_minutes {self.long_minutes}; allowed: 0 to {MOST_MINUTES}")
        names = [source.part_name for source in self.sets]
        if len(set(names)) < len(names):
            raise ValueError(f"sets {', '.join(names)}: two have one name; measure them apart")
