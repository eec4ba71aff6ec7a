"""A long dialogue is measured at both ends, on the same texts."""

from pathlib import Path

import numpy as np
import pytest

from fireredtts2.evaluation.kept_scores import KeptScores
from fireredtts2.evaluation.long_part import EDGE_TURNS, edge, long_item, long_part
from fireredtts2.evaluation.report import Part
from fireredtts2.evaluation.scorer import Scorer
from fireredtts2.evaluation.sets import load_dialogues
from fireredtts2.evaluation.speaker import VoiceProfile
from fireredtts2.evaluation.synthesis import SpokenItem, SpokenTurn
from tests.evaluation.fakes import PITCH_HZ, SECONDS, TEXTS, fake_judges, tone

VOICES = sorted(PITCH_HZ)


def test_the_end_says_what_the_beginning_said() -> None:
    item = long_item(load_dialogues(10), VOICES, 3, 10)
    assert len(item.lines) == 230
    assert item.lines[:EDGE_TURNS] == item.lines[-EDGE_TURNS:]
    assert len(set(item.lines[EDGE_TURNS:-EDGE_TURNS])) == 60
    assert len(set(item.voices.values())) == 2


def test_a_short_one_has_its_ends_alone() -> None:
    item = long_item(load_dialogues(1), VOICES, 3, 0.1)
    assert item.lines[:6] == item.lines[6:]
    with pytest.raises(ValueError, match="needs dialogues"):
        long_item([], VOICES, 3, 10)


class Drifting:
    """A studio whose second half is softer, and in the other voice."""

    def __init__(self, texts: list[str] = TEXTS) -> None:
        self.texts = texts

    def spoken(self, item) -> SpokenItem:
        half, turns = len(item.lines) // 2, []
        for number, (speaker, text) in enumerate(item.lines):
            voice = item.voices[speaker]
            is_late = number >= half
            heard = next(v for v in VOICES if v != voice) if is_late else voice
            seconds = SECONDS + self.texts.index(text) / 100  # says which text it is
            audio = tone(PITCH_HZ[heard], seconds) * (0.2 if is_late else 1.0)
            turns.append(SpokenTurn(f"long_{number}", speaker, voice, text, audio))
        return SpokenItem(tuple(turns), 1.0)


PROFILES = {
    name: VoiceProfile(name, np.eye(len(PITCH_HZ))[[place]], "recordings")
    for place, name in enumerate(PITCH_HZ)
}


def measured(folder: Path, num_dialogues: int, minutes: float) -> Part:
    dialogues = load_dialogues(num_dialogues)
    texts = [line.text for dialogue in dialogues for line in dialogue.lines]
    judges = fake_judges(texts)
    scorer = Scorer(judges, KeptScores(folder, judges))
    return long_part(Drifting(texts), long_item(dialogues, VOICES, 3, minutes), scorer, PROFILES)


@pytest.mark.parametrize(("num_dialogues", "num_edge"), [(1, 6), (2, 12), (3, 18), (10, 24)])
def test_both_ends_have_the_same_texts(tmp_path: Path, num_dialogues: int, num_edge: int) -> None:
    """Of few dialogues the ends are shorter than 24 turns, and the middle is none of them."""
    part = measured(tmp_path, num_dialogues, 2.3)
    sides = [
        [row["text"] for row in part.rows if row["place"] == place] for place in ("first", "last")
    ]
    assert sides[0] == sides[1]
    assert len(sides[0]) == num_edge
    assert f"its last {num_edge} turns say what its first {num_edge} said" in part.notes[0]


def test_an_end_of_other_texts_is_refused() -> None:
    lines = [("S1", "One."), ("S2", "Two."), ("S1", "Three.")]
    with pytest.raises(ValueError, match="these 3 turns do not"):
        edge(lines)
    assert edge([*lines, *lines]) == 3


def test_drift_is_seen(tmp_path: Path) -> None:
    part = measured(tmp_path, 4, 2)
    figures = {figure.key: figure for figure in part.figures}
    assert figures["long.minutes"].value == pytest.approx(48 * 1.115 / 60, rel=0.05)
    assert figures["long.wer_change"].value == 0
    assert figures["long.similarity_first"].value == pytest.approx(1.0)
    assert figures["long.similarity_change"].value == pytest.approx(-1.0)
    change = figures["long.dnsmos_change"]
    assert change.value < -1
    assert change.interval is not None
    assert change.interval[1] < 0
    assert change.shown_interval == change.interval
    assert [row["place"] for row in part.rows] == ["first"] * 24 + ["last"] * 24


def test_the_change_over_few_turns_has_no_interval(tmp_path: Path) -> None:
    figures = {figure.key: figure for figure in measured(tmp_path, 1, 1).figures}
    assert figures["long.dnsmos_change"].value < -1
    assert figures["long.dnsmos_change"].shown_interval is None
