"""What the report says of a part that was not measured: its goals, without values, and why."""

from __future__ import annotations

from collections.abc import Mapping

from fireredtts2.evaluation.goals import GOALS, Unit
from fireredtts2.evaluation.report import Figure, Part

#: The measures that have goals -> what the report calls them, and their units.
NAMES: Mapping[str, tuple[str, Unit]] = {
    "wer": ("Word error rate", "%"),
    "similarity": ("Cosine to the voice", "cosine"),
    "dnsmos": ("DNSMOS", "MOS"),
    "wrong_voice": ("Turns in a wrong voice", "%"),
    "wer_cost": ("Word errors that the codec adds", "points"),
    "pesq_wb": ("PESQ, wideband", "PESQ"),
    "stoi": ("STOI", "STOI"),
    "returned": ("Empty or runaway turns", "turns"),
    "real_time_factor": ("Real-time factor", "x"),
    "first_audio": ("First audio, first call", "s"),
    "load": ("Load", "s"),
    "peak_memory": ("Peak memory", "MB"),
}


def missing_part(name: str, reason: str) -> Part:
    """A part that could not be measured: its goals stay in the report, as not measured."""
    keys = [key for key in GOALS if key.partition(".")[0] == name]
    figures = []
    for key in keys:
        shown, unit = NAMES[key.partition(".")[2]]
        figures.append(Figure(key, shown, None, unit, 0))
    return Part(name, figures, [], [f"Not measured: {' '.join(reason.split())}."])
