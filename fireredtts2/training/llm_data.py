"""Training sequences for the language model: conversations composed of single clips.

A sample is what inference will see: voice prompts first, then turns. Samples are packed into rows
of one length; segment ids keep them apart (`fireredtts2.llm.prompt.packed_attention`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from fireredtts2.llm.prompt import PADDING_SEGMENT, Rows, Segment, segment_rows
from fireredtts2.training.attention_guide import NO_TARGET

NUM_TAGS = 4


@dataclass(frozen=True)
class Clip:
    """One recorded sentence.

    Attributes:
        speaker: whose voice.
        text_ids: ids of the text alone, without tag and marks.
        codes: (Q, frames) int64.
        spoken: (frames,) which of `text_ids` is spoken in each frame; None where unknown.
    """

    speaker: str
    text_ids: list[int]
    codes: Tensor
    spoken: np.ndarray | None = None


@dataclass(frozen=True)
class TextMarks:
    """Ids that stand around a segment's text."""

    tags: tuple[int, ...]
    start: int
    end: int


@dataclass(frozen=True)
class Mixture:
    """What samples are made of; shares need not sum to 1.

    Attributes:
        single: one clip without a prompt.
        same: a clip after a prompt of the same voice.
        dialogue: two to `max_speakers` voices with a prompt each, then turns.
    """

    single: float = 0.2
    same: float = 0.4
    dialogue: float = 0.4
    max_speakers: int = 2
    max_turns: int = 4


@dataclass
class LlmBatch:
    """Packed rows: tokens and mask (B, T, Q+1), segment_ids and targets (B, T).

    `targets` names for each row that predicts a frame the row of the unit spoken in it, or -1.
    """

    tokens: Tensor
    mask: Tensor
    segment_ids: Tensor
    targets: Tensor


class Composer:
    """Draws samples from clips and packs them."""

    def __init__(self, clips: list[Clip], marks: TextMarks, rows_per_sequence: int) -> None:
        self.marks = marks
        self.length = rows_per_sequence
        self.by_speaker: dict[str, list[Clip]] = {}
        for clip in clips:
            self.by_speaker.setdefault(clip.speaker, []).append(clip)
        self.by_speaker = {s: c for s, c in self.by_speaker.items() if len(c) > 1}
        self.speakers = sorted(self.by_speaker)
        counts = np.array([len(self.by_speaker[s]) for s in self.speakers], float)
        self.weights = counts / counts.sum()

    def sample(self, mixture: Mixture, rng: np.random.Generator) -> list[tuple[int, Clip]]:
        """A list of (tag number, clip) in order of speaking."""
        shares = np.array([mixture.single, mixture.same, mixture.dialogue])
        kind = rng.choice(3, p=shares / shares.sum())
        tags = rng.permutation(NUM_TAGS)
        if kind < 2:
            speaker = rng.choice(self.speakers, p=self.weights)
            return [(int(tags[0]), self._draw(speaker, rng)) for _ in range(kind + 1)]
        return self._dialogue(mixture, rng)

    def _dialogue(self, mixture: Mixture, rng: np.random.Generator) -> list[tuple[int, Clip]]:
        count = int(rng.integers(2, mixture.max_speakers + 1))
        speakers = rng.choice(self.speakers, count, replace=False, p=self.weights)
        # Speakers come in the order of their tags, as prompts do at inference.
        order = [*range(count)]
        turns = [int(rng.integers(count)) for _ in range(int(rng.integers(1, mixture.max_turns)))]
        return [(who, self._draw(speakers[who], rng)) for who in [*order, *turns]]

    def _draw(self, speaker: str, rng: np.random.Generator) -> Clip:
        clips = self.by_speaker[speaker]
        return clips[int(rng.integers(len(clips)))]

    def rows(self, sample: list[tuple[int, Clip]]) -> tuple[Rows, Tensor]:
        """A sample's rows, and for each row the row it should look at (or -1)."""
        parts, targets, begin = [], [], 0
        for tag, clip in sample:
            ids = [self.marks.tags[tag], self.marks.start, *clip.text_ids, self.marks.end]
            part = segment_rows(Segment(ids, clip.codes), clip.codes.shape[0])
            parts.append(part)
            targets.append(clip_targets(clip, begin, len(ids), len(part)))
            begin += len(part)
        return Rows.concatenate(parts), torch.cat(targets)

    def batches(
        self, size: int, mixture: Mixture, seed: int, num_pending: int = 24
    ) -> Iterator[LlmBatch]:
        """Endless batches of `size` packed sequences; the same seed gives the same ones."""
        rng = np.random.default_rng(seed)
        pending: list[tuple[Rows, Tensor]] = []
        while True:
            sequences = []
            for _ in range(size):
                while len(pending) < num_pending:
                    pending.append(self.rows(self.sample(mixture, rng)))
                sequences.append(self._fill(pending))
            yield self._stack(sequences)

    def _fill(self, pending: list[tuple[Rows, Tensor]]) -> list[tuple[Rows, Tensor]]:
        """Takes the oldest sample and then the longest ones that still fit."""
        chosen = [pending.pop(0)]
        room = self.length - len(chosen[0][0])
        for item in sorted(pending, key=lambda item: -len(item[0])):
            if len(item[0]) <= room:
                room -= len(item[0])
                chosen.append(item)
        taken = {id(item) for item in chosen}
        pending[:] = [item for item in pending if id(item) not in taken]
        return chosen

    def _stack(self, sequences: list[list[tuple[Rows, Tensor]]]) -> LlmBatch:
        num_columns = sequences[0][0][0].tokens.shape[1]
        shape = (len(sequences), self.length)
        tokens = torch.zeros(*shape, num_columns, dtype=torch.int64)
        mask = torch.zeros(*shape, num_columns, dtype=torch.bool)
        segment_ids = torch.full(shape, PADDING_SEGMENT)
        targets = torch.full(shape, NO_TARGET)
        for row, samples in enumerate(sequences):
            begin = 0
            for number, (rows, looks_at) in enumerate(samples):
                end = min(begin + len(rows), self.length)  # a sample longer than a row is cut
                tokens[row, begin:end] = rows.tokens[: end - begin]
                mask[row, begin:end] = rows.mask[: end - begin]
                segment_ids[row, begin:end] = number
                looks = looks_at[: end - begin]
                targets[row, begin:end] = torch.where(looks == NO_TARGET, looks, looks + begin)
                begin = end
        return LlmBatch(tokens, mask, segment_ids, targets)


def clip_targets(clip: Clip, begin: int, num_text_rows: int, num_rows: int) -> Tensor:
    """Rows that a segment's rows should look at, counted from the sample's first row."""
    targets = torch.full((num_rows,), NO_TARGET)
    if clip.spoken is None:
        return targets
    first_unit = begin + 2  # after the tag and the start mark
    # Row r predicts row r + 1: the end mark predicts frame 0, frame t predicts frame t + 1.
    spoken = torch.from_numpy(clip.spoken.astype(np.int64))
    targets[num_text_rows - 1 : num_text_rows - 1 + len(spoken)] = first_unit + spoken
    targets[num_text_rows - 1 + len(spoken)] = begin + num_text_rows - 1  # the end: the end mark
    return targets
