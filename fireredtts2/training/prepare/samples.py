"""Judged recordings to samples: duplicates left out, conversations cut where a turn is missing."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

from fireredtts2.script import SPEAKERS
from fireredtts2.training.prepare.block import Judged
from fireredtts2.training.prepare.checks import Reason
from fireredtts2.training.prepare.judge import Verdict
from fireredtts2.training.prepare.recordings import Recording
from fireredtts2.training.shards import Sample, Segment

Runs = list[list[int]]


class Duplicates:
    """Remembers the audio of recordings: a second one of the same is refused, whatever its text."""

    def __init__(self) -> None:
        self._first: dict[tuple[str, ...], str] = {}

    def without(self, recording: Recording, judged: Judged) -> Judged:
        """The recording as it was judged, or refused as a duplicate of one before it."""
        if any(verdict.reason and not verdict.digest for verdict in judged.verdicts):
            return judged
        key = tuple(verdict.digest for verdict in judged.verdicts)
        first = self._first.setdefault(key, recording.id)
        if first == recording.id:
            return judged
        detail = f"the same audio as {first}"
        verdicts = tuple(_refused(verdict, detail) for verdict in judged.verdicts)
        return Judged(verdicts, (None,) * len(verdicts))


def _refused(verdict: Verdict, detail: str) -> Verdict:
    if verdict.reason:
        return verdict
    return dataclasses.replace(verdict, reason=Reason.DUPLICATE.value, detail=detail)


def samples(recording: Recording, judged: Judged, max_rows: int) -> Iterator[Sample]:
    """The samples of a recording.

    A conversation is cut where a turn was refused, where a fifth speaker comes in, and where it
    has more than `max_rows` rows; its parts are called `id#0`, `id#1` and so on.

    Args:
        recording: as the source has it.
        judged: its verdicts and codes.
        max_rows: of text and frames in a sample.
    """
    runs = cut(recording, judged.verdicts, max_rows)
    whole = len(runs) == 1 and len(runs[0]) == len(recording.turns)
    for part, run in enumerate(runs):
        name = recording.id if whole else f"{recording.id}#{part}"
        segments = tuple(_segments(recording, judged, run))
        yield Sample(name, segments, recording.language, recording.source)


def cut(recording: Recording, verdicts: Sequence[Verdict], max_rows: int) -> Runs:
    """Numbers of the turns of every sample."""
    runs: Runs = [[]]
    for number, verdict in enumerate(verdicts):
        if verdict.reason:
            runs.append([])
            continue
        together = [*runs[-1], number]
        speakers = {recording.turns[turn].speaker for turn in together}
        num_rows = sum(verdicts[turn].num_rows or 0 for turn in together)
        if runs[-1] and (len(speakers) > len(SPEAKERS) or num_rows > max_rows):
            runs.append([number])
        else:
            runs[-1].append(number)
    return [run for run in runs if run]


def _segments(recording: Recording, judged: Judged, run: Sequence[int]) -> Iterator[Segment]:
    """Speakers become S1 to S4 in order of appearance."""
    tags: dict[str, str] = {}
    for number in run:
        turn, codes = recording.turns[number], judged.codes[number]
        assert codes is not None
        tag = tags.setdefault(turn.speaker, SPEAKERS[len(tags) % len(SPEAKERS)])
        yield Segment(tag, turn.text, codes, turn.speaker)
