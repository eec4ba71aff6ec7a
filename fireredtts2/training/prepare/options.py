"""What a preparation is asked for, and what of it decides the result."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from fireredtts2.training.prepare.checks import Limits
from fireredtts2.training.prepare.sources.detect import AUTO
from fireredtts2.training.shards import SHARD_SAMPLES

#: Where the embedded voices stand: -22 to -23 dBFS.
LEVEL_DBFS = -23.0
#: What decides how fast, and where, but not what.
WITHOUT_EFFECT = ("source", "out", "model", "device", "workers")


@dataclass(frozen=True)
class PrepareOptions:
    """A preparation.

    Attributes:
        source: a folder, or a manifest.
        out: folder of the data set.
        model: checkpoint folder whose codec and tokenizer are used, or "mini".
        device: where the codec runs.
        layout: of the source, or "auto".
        speaker: who speaks, where the source does not say.
        language: ISO 639-1, where the source does not say.
        conversations: whether they stay whole; otherwise every turn is a clip.
        limits: of the checks.
        level_dbfs: active level that speech is brought to; None leaves it.
        kept_silence_s: left at either end of a turn when silence is cut; None cuts nothing.
        validation: share of the recordings that are held out.
        test: share that is held out for a last test.
        split_by: recordings apart, or speakers.
        recogniser: name of the recogniser that listens, "" for none.
        shard_samples: in a shard.
        workers: processes.
    """

    source: Path
    out: Path
    model: str = "mini"
    device: str = "cpu"
    layout: str = AUTO
    speaker: str | None = None
    language: str = ""
    conversations: bool = True
    limits: Limits = field(default_factory=Limits)
    level_dbfs: float | None = LEVEL_DBFS
    kept_silence_s: float | None = 0.1
    validation: float = 0.05
    test: float = 0.0
    split_by: Literal["id", "speaker"] = "id"
    recogniser: str = ""
    shard_samples: int = SHARD_SAMPLES
    workers: int = 1

    def __post_init__(self) -> None:
        held_out = self.validation + self.test
        if min(self.validation, self.test) < 0 or held_out >= 1:
            raise ValueError(
                f"validation {self.validation:g} and test {self.test:g}: shares from 0, together "
                "less than 1"
            )
        if self.split_by not in ("id", "speaker"):
            raise ValueError(f"split by {self.split_by!r}; allowed: id, speaker")
        if self.workers < 1:
            raise ValueError(f"{self.workers} workers; allowed: 1 or more")
        if self.level_dbfs is not None and not -60 <= self.level_dbfs <= 0:
            raise ValueError(f"level {self.level_dbfs:g} dBFS; allowed: -60 to 0")
        if self.kept_silence_s is not None and self.kept_silence_s < 0:
            raise ValueError(f"{self.kept_silence_s:g} s of silence kept; allowed: 0 or more")

    def deciding(self) -> dict[str, Any]:
        """The options that decide the result, as JSON has them."""
        values = dataclasses.asdict(self)
        limits = values.pop("limits")
        return {k: v for k, v in values.items() if k not in WITHOUT_EFFECT} | limits
