"""Measures what the system says: `python -m fireredtts2.evaluation --help`, and `score_clips`."""

from fireredtts2.evaluation.clips import ClipScores, score_clips
from fireredtts2.evaluation.judges import Judges

__all__ = ["ClipScores", "Judges", "score_clips"]
