"""Which sound is spoken when: a small network over Whisper's features, and its best path.

The network gives each 20 ms step a distribution over the sounds and "none of them", as one trained
by CTC does (Graves et al. 2006).
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fireredtts2.phonemes import PUNCTUATION, UNITS

SILENT_UNITS = frozenset(" " + PUNCTUATION)
SOUNDS = tuple(unit for unit in UNITS if unit not in SILENT_UNITS)
NO_SOUND = 0  # the class of CTC's blank and of pauses
SOUND_CLASSES = {unit: index for index, unit in enumerate(SOUNDS, start=1)}


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

    @staticmethod
    def sizes_of(state: Mapping[str, Tensor]) -> tuple[int, int]:
        """(hidden_dim, num_blocks) of weights; what they lack shows when they are loaded."""
        hidden = state.get("input.weight", torch.empty(1)).shape[0]
        return hidden, sum(name.endswith(".pointwise.weight") for name in state)

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """Takes zero-padded rows and their lengths (B,); what is past them does not matter."""
        steps = torch.arange(features.shape[1], device=features.device)
        is_live = steps[None, :, None] < lengths[:, None, None]
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


def best_path(log_probs: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Finds the likeliest times of sounds that must all come, in order.

    Args:
        log_probs: (T, classes).
        classes: (N,), at least one.

    Returns:
        The first and last step (N, 2) of each sound, and the best log-probability (N,) of each on
        the way. Both are empty when there are more sounds than steps.
    """
    if len(classes) > len(log_probs):
        return np.empty((0, 2), np.int64), np.empty(0, np.float32)
    return _spans(*_likeliest_states(log_probs, classes))


def log_ratios(log_probs: np.ndarray, classes: np.ndarray) -> np.ndarray:
    """How much less likely sounds that must all come are than what is heard, step by step.

    Args:
        log_probs: (T, classes).
        classes: (N,), at least one and at most T.

    Returns:
        (T,), each 0 or below: log-probability on the best path of the sounds, less the step's best.
    """
    path, emitted = _likeliest_states(log_probs, classes)
    return emitted[np.arange(len(path)), path] - log_probs.max(1)


def _likeliest_states(log_probs: np.ndarray, classes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The state (T,) of each step on the best path, and what all states (T, states) emit."""
    steps, num = len(log_probs), len(classes)
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
    return path, emitted


def _spans(path: np.ndarray, emitted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    in_sound = np.flatnonzero(path % 2)
    sound, first, count = np.unique(path[in_sound], return_index=True, return_counts=True)
    spans = np.stack([in_sound[first], in_sound[first + count - 1]], axis=1)
    best = [emitted[a : b + 1, state].max() for state, (a, b) in zip(sound, spans, strict=True)]
    return spans, np.array(best)
