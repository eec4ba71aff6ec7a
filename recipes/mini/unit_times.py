"""When each unit of a text is spoken, by the aligner's best path (`fireredtts2.proofing`).

The aligner is trained twice: by CTC, which needs no times but answers with a spike somewhere inside
each sound, then on the steps which those spikes divide the clip into, after which its best path
knows the borders too.
"""

from __future__ import annotations

import itertools

import numpy as np

from fireredtts2.proofing.ctc_aligner import NO_SOUND, SILENT_UNITS, SOUND_CLASSES

MIN_PAUSE_STEPS = 5  # 100 ms: the closure of a "t" is quiet too, but shorter


def unit_starts(units: str, spans: np.ndarray, is_quiet: np.ndarray) -> np.ndarray:
    """Divides a clip among its units.

    Two sounds meet midway between their spans. Silent units between them share the pause there is,
    or have no time of their own. The first unit begins with the clip and the last one ends with it.

    Args:
        units: with at least one sound.
        spans: first and last step (sounds, 2).
        is_quiet: (T,) bool, whether the audio of a step is as good as silent.

    Returns:
        The step (len(units),) float32 with which each unit begins, never falling.
    """
    sounding = [index for index, unit in enumerate(units) if unit not in SILENT_UNITS]
    starts = np.zeros(len(units), np.float32)
    for number, (here, following) in enumerate(itertools.pairwise(sounding)):
        gap_start, gap_end = spans[number, 1] + 1, spans[number + 1, 0]
        quiet = gap_start + np.flatnonzero(is_quiet[gap_start:gap_end])
        num_silent = following - here - 1
        if num_silent and len(quiet) >= MIN_PAUSE_STEPS:
            starts[here + 1 : following + 1] = np.linspace(quiet[0], quiet[-1] + 1, num_silent + 1)
        else:
            starts[here + 1 : following + 1] = (gap_start + gap_end) / 2
    starts[sounding[-1] + 1 :] = max(spans[-1, 1], _sound_bounds(is_quiet)[1] - 1) + 1
    return starts


def unit_at(starts: np.ndarray, times: np.ndarray) -> np.ndarray:
    """The unit (times,) int16 spoken at each time, in steps."""
    return (np.searchsorted(starts, times, side="right") - 1).clip(0).astype(np.int16)


def step_classes(units: str, starts: np.ndarray, is_quiet: np.ndarray) -> np.ndarray:
    """The class (T,) of every step of a clip divided so, for training on."""
    classes = np.array([SOUND_CLASSES.get(unit, NO_SOUND) for unit in units], np.int64)
    steps = classes[unit_at(starts, np.arange(len(is_quiet)) + 0.5)]
    onset, end = _sound_bounds(is_quiet)
    steps[:onset] = NO_SOUND
    steps[end:] = NO_SOUND
    return steps


def _sound_bounds(is_quiet: np.ndarray) -> tuple[int, int]:
    loud = np.flatnonzero(~is_quiet)
    return (int(loud[0]), int(loud[-1]) + 1) if len(loud) else (0, len(is_quiet))


def sound_errors(log_probs: np.ndarray, classes: np.ndarray) -> int:
    """Edit distance between the greedy reading of (T, classes) and the right classes (N,)."""
    greedy = log_probs.argmax(-1)
    read = greedy[np.flatnonzero(np.diff(greedy, prepend=-1))]
    row = np.arange(len(classes) + 1)
    for count, found in enumerate(read[read != NO_SOUND], start=1):
        changed = np.minimum(row[1:] + 1, row[:-1] + (classes != found))
        # An insertion adds 1 for each step to the right of where it starts.
        ramp = np.arange(len(row))
        row = np.minimum.accumulate(np.concatenate([[count], changed]) - ramp) + ramp
    return int(row[-1])
