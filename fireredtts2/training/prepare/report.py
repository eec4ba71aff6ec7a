"""What became of the recordings: `report.json`, `report.html`, and `refused.jsonl` line by line."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from fireredtts2.atomic_file import atomic_path
from fireredtts2.config import FRAME_RATE_HZ
from fireredtts2.training.prepare.checks import MEANINGS, Reason
from fireredtts2.training.prepare.histogram import Histogram
from fireredtts2.training.prepare.judge import Verdict
from fireredtts2.training.prepare.page import page
from fireredtts2.training.prepare.recordings import Recording
from fireredtts2.training.shards import Sample

SHOWN_REFUSALS = 200


class Report:
    """Collects, then writes.

    Args:
        folder: of the data set.
        layout: of the source.
    """

    JSON_NAME, PAGE_NAME, REFUSED_NAME = "report.json", "report.html", "refused.jsonl"
    NAMES = (JSON_NAME, PAGE_NAME, REFUSED_NAME)

    def __init__(self, folder: Path, layout: str) -> None:
        self._folder, self._layout = folder, layout
        self._recordings = self._turns = 0
        self._frames: dict[str, Counter[str]] = {
            kind: Counter() for kind in ("split", "speaker", "language")
        }
        self._samples: Counter[str] = Counter()
        self._conversations = 0
        self._reasons: Counter[str] = Counter()
        self._refused: list[dict[str, Any]] = []
        self.histograms = {
            "seconds": Histogram("Length of a turn", "s", 0.5),
            "chars_per_second": Histogram("Letters and digits per second", "1/s", 1.0),
            "level_dbfs": Histogram("Active level before it was evened", "dBFS", 1.0),
        }

    def add(
        self, recording: Recording, verdicts: Sequence[Verdict], made: Sequence[Sample], split: str
    ) -> None:
        """Counts a recording, what was found out about its turns, and the samples made of it."""
        self._recordings += 1
        self._turns += len(verdicts)
        for number, verdict in enumerate(verdicts):
            if verdict.reason:
                self._refuse(recording, number, verdict)
            for name, histogram in self.histograms.items():
                histogram.add(getattr(verdict, name), kept=not verdict.reason)
        for sample in made:
            self._samples[split] += 1
            self._conversations += len(sample.segments) > 1
            for segment in sample.segments:
                frames = segment.codes.shape[1]
                self._frames["split"][split] += frames
                self._frames["speaker"][segment.voice or ""] += frames
                self._frames["language"][sample.language or "unknown"] += frames

    def _refuse(self, recording: Recording, number: int, verdict: Verdict) -> None:
        self._reasons[verdict.reason] += 1
        row = {"id": recording.id, "reason": verdict.reason, "detail": verdict.detail,
               "source": recording.source}  # fmt: skip
        turn = {"turn": number + 1} if len(recording.turns) > 1 else {}
        self._refused.append(row | turn)

    def summary(self) -> str:
        """The reasons, the most frequent first."""
        return ", ".join(f"{reason}: {count}" for reason, count in self._reasons.most_common())

    def values(self) -> dict[str, Any]:
        """All of it, as `report.json` has it. Times are in seconds."""
        return {
            "layout": self._layout,
            "recordings": self._recordings,
            "turns": self._turns,
            "turns_refused": sum(self._reasons.values()),
            "samples": sum(self._samples.values()),
            "conversations": self._conversations,
            "seconds": _seconds(sum(self._frames["split"].values())),
            "splits": {
                name: {"samples": count, "seconds": _seconds(self._frames["split"][name])}
                for name, count in sorted(self._samples.items())
            },
            "speakers": _ranked(self._frames["speaker"]),
            "languages": _ranked(self._frames["language"]),
            "refused": dict(self._reasons.most_common()),
            "meanings": {reason: MEANINGS[Reason(reason)] for reason in sorted(self._reasons)},
            "histograms": {name: one.values() for name, one in self.histograms.items()},
        }

    def write(self) -> None:
        """Writes the three files, each whole or not at all."""
        values = self.values()
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in self._refused]
        texts = {
            self.REFUSED_NAME: "".join(lines),
            self.JSON_NAME: json.dumps(values, indent=1, ensure_ascii=False) + "\n",
            self.PAGE_NAME: page(values, self._refused[:SHOWN_REFUSALS]),
        }
        for name, text in texts.items():
            with atomic_path(self._folder / name) as temporary:
                temporary.write_text(text, "utf-8")


def _seconds(frames: int) -> float:
    return round(frames / FRAME_RATE_HZ, 2)


def _ranked(frames: Counter[str]) -> dict[str, float]:
    """Seconds by name, the longest first."""
    ranked = sorted(frames.items(), key=lambda item: (-item[1], item[0]))
    return {name: _seconds(count) for name, count in ranked}
