"""Training sequences for the language model: conversations composed of single clips.

A sample is what inference will see: voice prompts first, then turns. A batch holds samples of about
the same length, each in a row of its own: nothing to keep apart, little padding, and attention
stays plainly causal, which costs half of a masked one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from fireredtts2.llm.prompt import Rows, Segment, pad_rows, segment_rows
from fireredtts2.training.attention_guide import NO_TARGET
from fireredtts2.training.code_noise import rows_with_codes

NUM_TAGS = 4
MAX_REDRAWS = 1000
POOL_SAMPLES = 192  # drawn at once and sorted by length

Turns = list[tuple[int, "Clip"]]  # tag numbers with what is said, in order of speaking

NOBODY = -1  # in rows of padding


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

    @property
    def recording(self) -> int:
        """What tells recordings apart: copies with another text have the same codes in memory."""
        return id(self.codes)


@dataclass(frozen=True)
class TextMarks:
    """Ids that stand around a segment's text."""

    tags: tuple[int, ...]
    start: int
    end: int

    def around(self, tag: int, text_ids: Sequence[int]) -> list[int]:
        """A segment's text ids in the voice of tag number `tag`."""
        return [self.tags[tag], self.start, *text_ids, self.end]


@dataclass(frozen=True)
class Mixture:
    """What samples are made of; shares need not sum to 1.

    Attributes:
        single: one clip without a prompt.
        same: a clip after a prompt of the same voice.
        dialogue: two to `max_speakers` voices with a prompt each, then 1 to `max_turns` turns.
    """

    single: float = 0.2
    same: float = 0.4
    dialogue: float = 0.4
    max_speakers: int = 2
    max_turns: int = 3


@dataclass(frozen=True)
class Sample:
    """A sample's rows, and what training knows of each of them, all (T,) int64.

    Attributes:
        rows: the sample.
        targets: for each row that predicts a frame the row of the unit spoken in it, or -1.
        speakers: whose row it is, by number.
        segments: which clip of the sample it belongs to.
    """

    rows: Rows
    targets: Tensor
    speakers: Tensor
    segments: Tensor


@dataclass
class LlmBatch:
    """B samples, dead rows at the ends: tokens and mask (B, T, Q+1), the others (B, T).

    `targets`, `speakers` and `segments` as in `Sample`, -1 in dead rows.
    """

    tokens: Tensor
    mask: Tensor
    targets: Tensor
    speakers: Tensor
    segments: Tensor

    @property
    def is_frame(self) -> Tensor:
        """(B, T) bool: rows that hold codes, without the ends of turns."""
        return rows_with_codes(self.tokens, self.mask)


class Composer:
    """Draws samples from clips and puts them together by length.

    Args:
        clips: to draw from; what is here oftener is drawn oftener. Only speakers with two
            recordings or more count: a clip is no prompt for itself, nor for one of the same codes.
        marks: what stands around a text.

    Raises:
        ValueError: there is no such speaker.
    """

    def __init__(self, clips: list[Clip], marks: TextMarks) -> None:
        self.marks = marks
        self.by_speaker: dict[str, list[Clip]] = {}
        for clip in clips:
            self.by_speaker.setdefault(clip.speaker, []).append(clip)
        recordings = {s: {clip.recording for clip in c} for s, c in self.by_speaker.items()}
        self.num_recordings = {s: len(found) for s, found in recordings.items() if len(found) > 1}
        self.speakers = sorted(self.num_recordings)
        if not self.speakers:
            raise ValueError(
                f"no speaker of {len(recordings)} has two recordings, one to be the other's prompt"
            )
        counts = np.array([len(self.by_speaker[s]) for s in self.speakers], float)
        self.weights = counts / counts.sum()

    def sample(self, mixture: Mixture, rng: np.random.Generator) -> Turns:
        """A list of (tag number, clip) in order of speaking."""
        shares = np.array([mixture.single, mixture.same, mixture.dialogue])
        kind = rng.choice(3, p=shares / shares.sum())
        tags = rng.permutation(NUM_TAGS)
        if kind < 2:
            speaker = rng.choice(self.speakers, p=self.weights)
            return self._drawn([(int(tags[0]), speaker)] * (kind + 1), rng)
        return self._dialogue(mixture, rng)

    def _dialogue(self, mixture: Mixture, rng: np.random.Generator) -> Turns:
        count = int(rng.integers(2, mixture.max_speakers + 1))
        speakers = rng.choice(self.speakers, count, replace=False, p=self.weights)
        # Speakers come in the order of their tags, as prompts do at inference.
        order = [*range(count)]
        num_turns = int(rng.integers(1, mixture.max_turns + 1))
        turns = [int(rng.integers(count)) for _ in range(num_turns)]
        return self._drawn([(who, speakers[who]) for who in [*order, *turns]], rng)

    def _drawn(self, parts: Sequence[tuple[int, str]], rng: np.random.Generator) -> Turns:
        """A clip for every (tag number, speaker); it ends where a speaker has said everything."""
        turns: Turns = []
        used: dict[str, set[int]] = {speaker: set() for _, speaker in parts}
        for tag, speaker in parts:
            heard = used[speaker]
            if len(heard) == self.num_recordings[speaker]:
                break
            clip = self._draw(speaker, rng)
            while clip.recording in heard:
                clip = self._draw(speaker, rng)
            heard.add(clip.recording)
            turns.append((tag, clip))
        return turns

    def _draw(self, speaker: str, rng: np.random.Generator) -> Clip:
        clips = self.by_speaker[speaker]
        return clips[int(rng.integers(len(clips)))]

    def compose(self, turns: Turns) -> Sample:
        """The sample that these (tag number, clip) make."""
        parts, targets, speakers, begin = [], [], [], 0
        for tag, clip in turns:
            ids = self.marks.around(tag, clip.text_ids)
            part = segment_rows(Segment(ids, clip.codes), clip.codes.shape[0])
            parts.append(part)
            targets.append(clip_targets(clip, begin, len(ids), len(part)))
            speakers.append(self.speakers.index(clip.speaker))
            begin += len(part)
        lengths = torch.tensor([len(part) for part in parts])
        return Sample(
            rows=Rows.concatenate(parts),
            targets=torch.cat(targets),
            speakers=torch.tensor(speakers).repeat_interleave(lengths),
            segments=torch.arange(len(parts)).repeat_interleave(lengths),
        )

    def batches(
        self, num_rows: int, max_rows: int, mixture: Mixture, seed: int
    ) -> Iterator[LlmBatch]:
        """Endless batches; arguments and errors as for `groups`."""
        groups = self.groups(num_rows, max_rows, mixture, seed)
        return (_stack([self.compose(turns) for turns in group]) for group in groups)

    def groups(
        self, num_rows: int, max_rows: int, mixture: Mixture, seed: int
    ) -> Iterator[list[Turns]]:
        """Endless batches not yet composed; the same seed gives the same ones.

        Args:
            num_rows: the most rows in a batch, padding included.
            max_rows: the longest sample.
            mixture: what samples are made of.
            seed: of the draws.

        Raises:
            ValueError: at once where a batch cannot hold a sample, or where there are fewer
                speakers than in a dialogue; later where no clips are short enough.
        """
        if num_rows < max_rows:
            raise ValueError(f"batches of {num_rows} rows cannot hold samples of {max_rows}")
        if mixture.dialogue and len(self.speakers) < mixture.max_speakers:
            raise ValueError(
                f"dialogues of {mixture.max_speakers} speakers need as many with two recordings; "
                f"there are {len(self.speakers)}"
            )
        return self._groups(num_rows, max_rows, mixture, seed)

    def _groups(
        self, num_rows: int, max_rows: int, mixture: Mixture, seed: int
    ) -> Iterator[list[Turns]]:
        rng = np.random.default_rng(seed)
        while True:
            drawn = [self._turns_within(max_rows, mixture, rng) for _ in range(POOL_SAMPLES)]
            groups = by_length(drawn, num_rows)
            for index in rng.permutation(len(groups)):
                yield groups[index]

    def _turns_within(self, max_rows: int, mixture: Mixture, rng: np.random.Generator) -> Turns:
        """A sample without the last turns that do not fit; one that begins too long is redrawn."""
        for _ in range(MAX_REDRAWS):
            sample = self.sample(mixture, rng)
            least = max(1, len({tag for tag, _ in sample}))  # prompts alone are a sample too
            while len(sample) > least and _num_rows(sample) > max_rows:
                sample.pop()
            if _num_rows(sample) <= max_rows:
                return sample
        raise ValueError(f"no sample of {max_rows} rows found: clips are longer than that")


def _num_rows(sample: Turns) -> int:
    """Rows of a sample: each clip's text with tag and two marks, frames and end row."""
    return sum(len(clip.text_ids) + 3 + clip.codes.shape[1] + 1 for _, clip in sample)


def by_length(drawn: list[Turns], num_rows: int) -> list[list[Turns]]:
    """Groups of samples of about one length, each of at most `num_rows` rows when padded.

    Groups come out about equally full; the last, shortest one may hold fewer.
    """
    groups: list[list[Turns]] = []
    for item in sorted(drawn, key=_num_rows, reverse=True):
        # The first of a group is its longest.
        if not groups or (len(groups[-1]) + 1) * _num_rows(groups[-1][0]) > num_rows:
            groups.append([])
        groups[-1].append(item)
    return groups


def _stack(samples: list[Sample]) -> LlmBatch:
    tokens, mask, _ = pad_rows([sample.rows for sample in samples])
    return LlmBatch(
        tokens,
        mask,
        targets=pad_sequence([sample.targets for sample in samples], True, NO_TARGET),
        speakers=pad_sequence([sample.speakers for sample in samples], True, NOBODY),
        segments=pad_sequence([sample.segments for sample in samples], True, NOBODY),
    )


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
