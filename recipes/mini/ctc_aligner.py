"""Which sound is spoken when: a small network over Whisper's features, and its best path.

The network gives each 20 ms step a distribution over the sounds and "none of them". It is trained
twice: by CTC, which needs no times but answers with a spike somewhere inside each sound, then on
the steps which those spikes divide the clip into, after which its best path knows the borders too.
"""

from __future__ import annotations

import itertools

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fireredtts2.phonemes import PUNCTUATION, UNITS

SILENT_UNITS = frozenset(" " + PUNCTUATION)
SOUNDS = tuple(unit for unit in UNITS if unit not in SILENT_UNITS)
NO_SOUND = 0  # the class of CTC's blank and of pauses
SOUND_CLASSES = {unit: index for index, unit in enumerate(SOUNDS, start=1)}
MIN_PAUSE_STEPS = 5  # 100 ms: the closure of a "t" is quiet too, but shorter


class CtcAligner(nn.Module):
    """Features (B, T, feature_dim) to log-probabilities (B, T, 1 + sounds)."""

    def __init__(
        self, feature_dim: int = 384, hidden_dim: int = 192, num_blocks: int = 2, kernel: int = 7
    ) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(feature_dim)
        self.input = nn.Linear(feature_dim, hidden_dim)
        self.blocks = nn.ModuleList(_ConvBlock(hidden_dim, kernel) for _ in range(num_blocks))
        self.output = nn.Linear(hidden_dim, 1 + len(SOUNDS))

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Takes zero-padded rows and their lengths (B,); what is past them does not matter."""
        is_live = torch.arange(features.shape[1])[None, :, None] < lengths[:, None, None]
        hidden = self.input(self.norm(features))
        for block in self.blocks:
            hidden = block(hidden * is_live)
        return self.output(hidden).log_softmax(-1)


class _ConvBlock(nn.Module):
    def __init__(self, dim: int, kernel: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.depthwise = nn.Conv1d(dim, dim, kernel, padding=kernel // 2, groups=dim)
        self.pointwise = nn.Linear(dim, dim)

    def forward(self, hidden: Tensor) -> Tensor:
        mixed = self.depthwise(hidden.mT).mT
        return hidden + self.pointwise(F.gelu(self.norm(mixed)))


def sound_classes(units: str) -> np.ndarray:
    """The classes (sounds,) of those units that are heard."""
    return np.array([SOUND_CLASSES[u] for u in units if u not in SILENT_UNITS], np.int64)


def best_path(log_probs: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, float]:
    """Finds the likeliest times of sounds that must all come, in order.

    Args:
        log_probs: (T, classes).
        classes: (N,), at least one.

    Returns:
        The first and last step (N, 2) of each sound, and how sure the path is of the sounds: the
        mean over them of the best probability on the way. Its steps are None and 0.0 when there
        are more sounds than steps.
    """
    steps, num = len(log_probs), len(classes)
    if num > steps:
        return np.empty((0, 2), np.int64), 0.0
    # NOTE: states are no-sound and sound by turns. Two equal sounds need no gap between them, as
    # they would in CTC's loss: here the states are known, nothing has to be told apart later.
    states = np.full(2 * num + 1, NO_SOUND)
    states[1::2] = classes
    emitted = log_probs[:, states]
    score = np.full(len(states), -np.inf)
    score[:2] = emitted[0, :2]
    came_from = np.zeros((steps, len(states)), np.int8)
    options = np.full((3, len(states)), -np.inf)
    for step in range(1, steps):
        options[0] = score
        options[1, 1:] = score[:-1]
        options[2, 3::2] = score[1:-2:2]
        came_from[step] = options.argmax(0)
        score = options.max(0) + emitted[step]
    state = len(states) - 1 if score[-1] > score[-2] else len(states) - 2
    path = np.empty(steps, np.int64)
    for step in reversed(range(steps)):
        path[step] = state
        state -= int(came_from[step, state])
    return _spans(path, emitted)


def _spans(path: np.ndarray, emitted: np.ndarray) -> tuple[np.ndarray, float]:
    in_sound = np.flatnonzero(path % 2)
    sound, first, count = np.unique(path[in_sound], return_index=True, return_counts=True)
    spans = np.stack([in_sound[first], in_sound[first + count - 1]], axis=1)
    best = [emitted[a : b + 1, state].max() for state, (a, b) in zip(sound, spans, strict=True)]
    return spans, float(np.exp(best).mean())


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
