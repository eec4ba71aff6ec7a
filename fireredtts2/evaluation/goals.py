"""What the embedded model is to reach, each bound with the count that it needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Unit = Literal[
    "%", "points", "s", "min", "MB", "x", "turns", "words", "cosine", "MOS", "log10", "dB", "st",
    "words/s", "PESQ", "STOI",
]  # fmt: skip


@dataclass(frozen=True)
class Goal:
    """A bound on a figure; a pass counts only when measured on at least `min_count` items."""

    kind: Literal["at most", "at least"]
    bound: float
    min_count: int = 1

    def is_met(self, value: float) -> bool:
        return value <= self.bound if self.kind == "at most" else value >= self.bound


SENTENCES = 100
DIALOGUE_TURNS = 60
RUNAWAY_TURNS = 1_000
CODEC_CLIPS = 50
CPU_CORES = 2

#: Figure key -> goal. Rates in %, times in seconds.
GOALS = {
    "sentences.wer": Goal("at most", 5.0, SENTENCES),
    "sentences.similarity": Goal("at least", 0.85, SENTENCES),
    "sentences.dnsmos": Goal("at least", 3.2, SENTENCES),
    "dialogue.wer": Goal("at most", 5.0, DIALOGUE_TURNS),
    "dialogue.wrong_voice": Goal("at most", 2.0, DIALOGUE_TURNS),
    "dialogue.similarity": Goal("at least", 0.85, DIALOGUE_TURNS),
    "dialogue.dnsmos": Goal("at least", 3.2, DIALOGUE_TURNS),
    "codec.wer_cost": Goal("at most", 2.0, CODEC_CLIPS),
    "codec.pesq_wb": Goal("at least", 2.5, CODEC_CLIPS),
    "codec.stoi": Goal("at least", 0.92, CODEC_CLIPS),
    "runaways.returned": Goal("at most", 0, RUNAWAY_TURNS),
    "speed.real_time_factor": Goal("at most", 0.35),
    "speed.first_audio": Goal("at most", 0.300),
    "speed.load": Goal("at most", 3.0),
    "speed.peak_memory": Goal("at most", 1_500),
}
