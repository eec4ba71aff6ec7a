"""Real-time factor, first audio, load time and memory, measured in a fresh process."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from fireredtts2.evaluation.goals import CPU_CORES
from fireredtts2.evaluation.paper import with_paper
from fireredtts2.evaluation.report import Figure, Part
from fireredtts2.evaluation.sets import load_dialogues, load_sentences, voice_pair

PROBE = Path(__file__).with_name("speed_probe.py")
NUM_SENTENCES = 6


class SpeedError(RuntimeError):
    """The measuring process failed; holds what it wrote."""


@dataclass(frozen=True)
class SpeedRequest:
    """What is timed: scripts spoken one after the other on a number of cores."""

    runs: Sequence[dict[str, Any]]
    device: str = "cpu"
    cores: int = CPU_CORES

    @classmethod
    def usual(cls, voices: Sequence[str], seed: int, device: str = "cpu") -> SpeedRequest:
        """A few sentences, then a dialogue of six turns."""
        runs: list[dict[str, Any]] = [
            {"script": [f"[S1]{text}"], "voices": {"S1": voices[0]}, "options": {"seed": seed}}
            for text in load_sentences(NUM_SENTENCES)
        ]
        dialogue = load_dialogues(1)[0]
        first, second = voice_pair(0, voices)
        script = [f"[{line.speaker}]{line.text}" for line in dialogue.lines]
        runs.append(
            {"script": script, "voices": {"S1": first, "S2": second}, "options": {"seed": seed}}
        )
        return cls(runs, device)


def run_probe(model: str, request: SpeedRequest) -> dict[str, Any]:
    """Runs `speed_probe.py`; returns what it measured.

    Raises:
        SpeedError: It failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "request.json"
        values = {"runs": list(request.runs), "device": request.device, "cores": request.cores}
        path.write_text(json.dumps(values), encoding="utf-8")
        result = subprocess.run(
            [sys.executable, str(PROBE), model, str(path)],
            capture_output=True,
            text=True,
            check=False,
        )
    if result.returncode:
        raise SpeedError(f"the speed measurement failed:\n{result.stderr.strip()}")
    measured: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
    return measured


def speed_part(measured: dict[str, Any]) -> Part:
    """Figures of what the probe measured; the last run is the dialogue."""
    runs = measured["runs"]
    first = runs[0]["first_audio_s"]
    later = [run["first_audio_s"] for run in runs[1:] if run["first_audio_s"] is not None]
    failed = sum(bool(run["error"]) for run in runs)
    note = f"on {measured['cores']} cores; dialogue alone {_shown(_real_time_factor(runs[-1:]))}"
    load_s, import_s = measured["load_s"], measured["import_s"]
    figures = [
        Figure(
            "speed.real_time_factor",
            "Real-time factor",
            _real_time_factor(runs),
            "x",
            len(runs),
            f"{note}; {failed} runs ended with a failed turn" if failed else note,
        ),
        Figure("speed.first_audio", "First audio, first call", first, "s", 1, "nothing warmed up"),
        Figure(
            "speed.first_audio_later",
            "First audio, later calls",
            median(later) if later else None,
            "s",
            len(later),
        ),
        Figure("speed.load", "Load", load_s, "s", 1),
        Figure("speed.cold_start", "Import and load", import_s + load_s, "s", 1),
        Figure("speed.peak_memory", "Peak memory", measured["peak_memory_mb"], "MB", 1),
        Figure("speed.loaded_memory", "Memory when loaded", measured["loaded_memory_mb"], "MB", 1),
    ]
    rows = [{"id": f"speed_{number}", **run} for number, run in enumerate(runs)]
    return Part("speed", with_paper(figures, "speed"), rows)


def _real_time_factor(runs: Sequence[dict[str, Any]]) -> float | None:
    """Seconds needed for a second of audio; None where no audio came."""
    audio_s = float(sum(run["audio_s"] for run in runs))
    return float(sum(run["wall_s"] for run in runs)) / audio_s if audio_s else None


def _shown(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
