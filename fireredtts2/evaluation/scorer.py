"""Scores spoken turns and decoded clips, each once: what was judged before is taken as it was."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from fireredtts2.config import OUTPUT_RATE_HZ
from fireredtts2.evaluation.clips import ClipScore, score_clip
from fireredtts2.evaluation.codec_round_trip import RoundTrip, score_round_trip
from fireredtts2.evaluation.judges import Judges
from fireredtts2.evaluation.kept_scores import KeptScores, array_digest
from fireredtts2.evaluation.speaker import VoiceProfile
from fireredtts2.evaluation.synthesis import SpokenTurn

Profiles = Mapping[str, VoiceProfile]


@dataclass(frozen=True)
class Scorer:
    """Judges with a memory.

    Attributes:
        judges: Who judges.
        kept: Where scores stay.
    """

    judges: Judges
    kept: KeptScores

    @classmethod
    def in_folder(cls, judges: Judges, folder: Path) -> Scorer:
        """Keeps scores in a folder."""
        return cls(judges, KeptScores(folder, judges))

    def turn(self, turn: SpokenTurn, profiles: Profiles) -> ClipScore:
        """Scores a turn against the profile of its voice, where there is one."""
        profile = profiles.get(turn.voice)
        inputs = {
            "audio": array_digest(turn.audio),
            "text": turn.text,
            "voice": array_digest(profile.embeddings) if profile else "",
        }

        def judge() -> ClipScore:
            return score_clip(turn.audio, turn.text, self.judges, OUTPUT_RATE_HZ, profile)

        kept = self.kept.get(turn.id, inputs, lambda: judge().as_json())
        return ClipScore.from_json(kept)

    def round_trip(
        self, name: str, audio: np.ndarray, rate_hz: int, decoded: np.ndarray, text: str
    ) -> RoundTrip:
        """Scores a clip (samples,) beside its decoded twin (samples,) at 24 kHz."""
        inputs = {
            "audio": f"{array_digest(audio)} {rate_hz}",
            "decoded": array_digest(decoded),
            "text": text,
        }

        def judge() -> RoundTrip:
            return score_round_trip(audio, rate_hz, decoded, text, self.judges)

        kept = self.kept.get(name, inputs, lambda: judge().as_json())
        return RoundTrip.from_json(kept)

    def embedding(self, name: str, audio: np.ndarray) -> np.ndarray | None:
        """The speaker embedding (256,) of a clip (samples,) at 16 kHz; None without that judge."""
        encoder = self.judges.speaker
        if encoder is None:
            return None
        inputs = {"audio": array_digest(audio)}
        kept = self.kept.get(name, inputs, lambda: {"embedding": encoder.embed(audio).tolist()})
        return np.array(kept["embedding"])

    def number(
        self, name: str, inputs: Mapping[str, str], measure: Callable[[], float | None]
    ) -> float | None:
        """Any one number about an item, kept under its name."""
        value = self.kept.get(name, inputs, lambda: {"value": measure()})["value"]
        return None if value is None else float(value)
