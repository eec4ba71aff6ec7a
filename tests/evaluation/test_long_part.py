"""A long dialogue is measured at both ends, on the same texts."""

from pathlib import Path

import numpy as np
import pytest

from fireredtts2.evaluation.kept_scores import KeptScores
from fireredtts2.evaluation.long_part import EDGE_TURNS, long_item, long_part
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

    def spoken(self, item) -> SpokenItem:
        half, turns = len(item.lines) // 2, []
        for number, (speaker, text) in enumerate(item.lines):
            voice = item.voices[speaker]
            is_late = number >= half
            heard = next(v for v in VOICES if v != voice) if is_late else voice
            seconds = SECONDS + TEXTS.index(text) / 100  # says which text it is
            audio = tone(PITCH_HZ[heard], seconds) * (0.2 if is_late else 1.0)
            turns.append(SpokenTurn(f"long_{number}", speaker, voice, text, audio))
        return SpokenItem(tuple(turns), 1.0)


def test_drift_is_seen(tmp_path: Path) -> None:
    item = long_item(load_dialogues(2), VOICES, 3, 1)
    judges = fake_judges(TEXTS)
    profiles = {
        name: VoiceProfile(name, np.eye(len(PITCH_HZ))[[place]], "recordings")
        for place, name in enumerate(PITCH_HZ)
    }
    part = long_part(Drifting(), item, Scorer(judges, KeptScores(tmp_path, judges)), profiles)
    figures = {figure.key: figure for figure in part.figures}
    assert figures["long.minutes"].value == pytest.approx(24 * 1.1 / 60, rel=0.05)
    assert figures["long.wer_change"].value == 0
    assert figures["long.similarity_first"].value == pytest.approx(1.0)
    assert figures["long.similarity_change"].value == pytest.approx(-1.0)
    change = figures["long.dnsmos_change"]
    assert change.value < -1
    assert change.interval is not None
    assert change.interval[1] < 0
    assert [row["place"] for row in part.rows] == ["first"] * 12 + ["last"] * 12
