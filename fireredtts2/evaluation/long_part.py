"""Whether a long dialogue drifts: what is said in its first minute is said again in its last."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fireredtts2.config import OUTPUT_RATE_HZ
from fireredtts2.evaluation.bootstrap import paired_interval
from fireredtts2.evaluation.measures import LONG, Measure
from fireredtts2.evaluation.parts import heard_by, turn_row
from fireredtts2.evaluation.report import Figure, Part
from fireredtts2.evaluation.scorer import Profiles, Scorer
from fireredtts2.evaluation.sets import Dialogue, voice_pair
from fireredtts2.evaluation.synthesis import Item, SpokenTurn, Studio

EDGE_TURNS = 24  # about a minute
TURNS_PER_MINUTE = 23  # of the dialogues that are spoken

Row = dict[str, Any]
Lines = Sequence[tuple[str, str]]  # speaker and text of each turn


def long_item(
    dialogues: Sequence[Dialogue], voices: Sequence[str], seed: int, minutes: float
) -> Item:
    """One dialogue of about so many minutes whose last turns repeat its first ones.

    Between them are all lines of the dialogues over and over.

    Raises:
        ValueError: fewer than two voices, or no dialogues.
    """
    if not dialogues:
        raise ValueError("a long dialogue needs dialogues to be made of; none are left")
    lines = [(line.speaker, line.text) for dialogue in dialogues for line in dialogue.lines]
    num_edge = min(EDGE_TURNS, len(lines))
    middle = max(0, round(minutes * TURNS_PER_MINUTE) - 2 * num_edge)
    between = [lines[(num_edge + n) % len(lines)] for n in range(middle)]
    first, second = voice_pair(0, voices)
    script = (*lines[:num_edge], *between, *lines[:num_edge])
    return Item("long", script, {"S1": first, "S2": second}, seed)


def edge(lines: Lines) -> int:
    """How many of the last turns say what as many first ones said; at most `EDGE_TURNS`.

    Read from the lines themselves, so that never two different texts are compared.

    Raises:
        ValueError: The end repeats nothing of the beginning.
    """
    for count in range(min(EDGE_TURNS, len(lines) // 2), 0, -1):
        if lines[:count] == lines[-count:]:
            return count
    raise ValueError(f"a long dialogue ends as it begins; these {len(lines)} turns do not")


def long_part(studio: Studio, item: Item, scorer: Scorer, profiles: Profiles) -> Part:
    """The first turns and the same texts at the end: each measure, and how much it changed.

    Raises:
        ValueError: The item's end repeats nothing of its beginning.
    """
    num_edge = edge(item.lines)
    spoken = studio.spoken(item)
    first = [_row(turn, scorer, profiles, "first") for turn in spoken.turns[:num_edge]]
    last = [_row(turn, scorer, profiles, "last") for turn in spoken.turns[-num_edge:]]
    minutes = sum(len(turn.audio) for turn in spoken.turns) / OUTPUT_RATE_HZ / 60
    figures = [Figure("long.minutes", "Length", minutes, "min", len(item.lines))]
    for measure in LONG:
        figures += _compared(measure, first, last)
    note = (
        f"One dialogue; its last {num_edge} turns say what its first {num_edge} said. Changes are "
        "the last less the first, paired by text; an interval with 0 in it is no drift that could "
        "be told. Intervals are over the turns of this dialogue: others may differ by more."
    )
    return Part("long", figures, [*first, *last], [note, "", heard_by(scorer.judges)])


def _row(turn: SpokenTurn, scorer: Scorer, profiles: Profiles, place: str) -> Row:
    return {**turn_row(turn, scorer.turn(turn, profiles)), "place": place}


def _compared(measure: Measure, first: Sequence[Row], last: Sequence[Row]) -> list[Figure]:
    """A measure at the beginning, at the end, and the change between."""
    pairs = [
        (one, other)
        for one, other in zip(first, last, strict=True)
        if measure.is_in(one) and measure.is_in(other)
    ]
    key, name = f"long.{measure.key}", measure.name
    begin = measure.figure("long", [one for one, _ in pairs])
    end = measure.figure("long", [other for _, other in pairs])
    if begin.value is None or end.value is None:
        return [Figure(f"{key}_change", f"{name}, change", None, measure.unit, 0, "not measured")]
    sides = [measure.values(side) for side in zip(*pairs, strict=True)]
    change, interval = end.value - begin.value, paired_interval(sides[0], sides[1])
    count = len(pairs)
    return [
        Figure(f"{key}_first", f"{name}, first turns", begin.value, measure.unit, count),
        Figure(f"{key}_last", f"{name}, last turns", end.value, measure.unit, count),
        Figure(f"{key}_change", f"{name}, change", change, measure.unit, count, "", interval),
    ]
