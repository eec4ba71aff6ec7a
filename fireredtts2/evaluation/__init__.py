"""Measures what is said: `python -m fireredtts2.evaluation --help`, `score_clips`, `choose`."""

from fireredtts2.evaluation.choice import Choice, choose
from fireredtts2.evaluation.clips import ClipScores, score_clips
from fireredtts2.evaluation.comparison import Comparison, compare
from fireredtts2.evaluation.judges import Judges
from fireredtts2.evaluation.saved_report import SavedReport

__all__ = [
    "Choice",
    "ClipScores",
    "Comparison",
    "Judges",
    "SavedReport",
    "choose",
    "compare",
    "score_clips",
]
