import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from fireredtts2.evaluation.clips import score_clip
from fireredtts2.evaluation.judges import Judges
from fireredtts2.evaluation.kept_scores import KeptScores, array_digest, judge_id
from fireredtts2.evaluation.run import Evaluation
from fireredtts2.evaluation.scorer import Scorer
from fireredtts2.evaluation.speaker import VoiceProfile
from fireredtts2.evaluation.synthesis import SpokenTurn
from tests.evaluation.fakes import (
    TEXTS,
    FakeTranscriber,
    FakeTTS,
    fake_judges,
    make_config,
    tone,
)

TURN = SpokenTurn("turn_0", "S1", "anna", TEXTS[0], tone(200, 1.0))
ANNA = {"anna": VoiceProfile("anna", np.array([[0.6, 0.8, 0.0]]), "recordings")}


def heard(judges: Judges) -> int:
    assert isinstance(judges.transcriber, FakeTranscriber)
    return judges.transcriber.calls


def test_a_turn_is_judged_once_and_comes_back_the_same(tmp_path: Path) -> None:
    first, second = fake_judges(TEXTS), fake_judges(TEXTS)
    judged = Scorer.in_folder(first, tmp_path).turn(TURN, ANNA)
    kept = Scorer.in_folder(second, tmp_path).turn(TURN, ANNA)
    assert (heard(first), heard(second)) == (1, 0)
    assert kept.as_row() == judged.as_row()
    assert kept.similarity == pytest.approx(0.6)
    np.testing.assert_array_equal(kept.embedding, judged.embedding)


@pytest.mark.parametrize(
    "other",
    [
        dataclasses.replace(TURN, audio=tone(200, 1.01)),
        dataclasses.replace(TURN, audio=TURN.audio.astype(np.float64)),
        dataclasses.replace(TURN, text=TEXTS[1]),
    ],
    ids=["sound", "type", "text"],
)
def test_another_turn_is_judged_anew(tmp_path: Path, other: SpokenTurn) -> None:
    judges = fake_judges(TEXTS)
    scorer = Scorer.in_folder(judges, tmp_path)
    scorer.turn(TURN, ANNA)
    scorer.turn(other, ANNA)
    assert heard(judges) == 2


def test_other_recordings_of_a_voice_or_other_judges_judge_anew(tmp_path: Path) -> None:
    judges = fake_judges(TEXTS)
    scorer = Scorer.in_folder(judges, tmp_path)
    scorer.turn(TURN, ANNA)
    other = {"anna": VoiceProfile("anna", np.array([[1.0, 0.0, 0.0]]), "recordings")}
    assert scorer.turn(TURN, other).similarity == pytest.approx(1)
    assert heard(judges) == 2
    named = dataclasses.replace(fake_judges(TEXTS), recogniser="a better one")
    Scorer.in_folder(named, tmp_path).turn(TURN, other)
    assert heard(named) == 1
    deaf = dataclasses.replace(judges, quality=None)
    assert len({judge_id(j) for j in (judges, named, deaf)}) == 3


def test_a_damaged_file_is_written_anew(tmp_path: Path) -> None:
    kept = KeptScores(tmp_path, fake_judges(TEXTS))
    for damage in (b'{"key": {', b"[]", b"\xff"):
        (tmp_path / "x.json").write_bytes(damage)
        assert kept.get("x", {"audio": "1"}, lambda: {"value": 3}) == {"value": 3}
        assert json.loads((tmp_path / "x.json").read_text())["score"] == {"value": 3}


def test_an_embedding_is_the_same_fresh_and_kept(tmp_path: Path) -> None:
    """The first run's profile must not differ from the second's by so much as its type."""

    class Counting:
        calls = 0

        def embed(self, audio: np.ndarray) -> np.ndarray:
            self.calls += 1
            return np.array([0.1, 0.2], dtype=np.float32)

    encoder = Counting()
    judges = dataclasses.replace(fake_judges(TEXTS), speaker=encoder)
    fresh, kept = (Scorer.in_folder(judges, tmp_path).embedding("p", TURN.audio) for _ in range(2))
    assert encoder.calls == 1
    assert array_digest(fresh) == array_digest(kept)
    nobody = dataclasses.replace(judges, speaker=None)
    assert Scorer.in_folder(nobody, tmp_path).embedding("p", TURN.audio) is None


def test_a_killed_run_goes_on_without_speaking_or_judging_again(tmp_path: Path) -> None:
    class Killed(BaseException):
        pass

    class Killer(FakeTranscriber):
        def transcribe(self, audio: np.ndarray) -> str:
            if self.calls == 3:
                raise Killed
            return super().transcribe(audio)

    config = make_config(tmp_path, "wer", "dialogue")
    speaker, killer = FakeTTS(TEXTS), Killer(TEXTS)
    judges = dataclasses.replace(fake_judges(TEXTS), transcriber=killer)
    with pytest.raises(Killed):
        Evaluation(config, lambda: speaker, lambda: judges).run()
    # The same judge by name: another class would be another judge.
    Killer.transcribe = FakeTranscriber.transcribe
    again = dataclasses.replace(judges, transcriber=Killer(TEXTS))
    Evaluation(config, lambda: speaker, lambda: again).run()
    assert speaker.calls == 4 + 2
    assert heard(again) == 4 + 12 - 3
    whole = dataclasses.replace(judges, transcriber=Killer(TEXTS))
    fresh = dataclasses.replace(config, out=tmp_path / "in_one_go")
    Evaluation(fresh, lambda: speaker, lambda: whole).run()
    assert heard(whole) == 4 + 12
    reports = [json.loads((c.out / "report.json").read_text()) for c in (config, fresh)]
    assert reports[0] == reports[1]


def test_a_score_does_not_depend_on_where_it_was_kept(tmp_path: Path) -> None:
    scorer = Scorer.in_folder(fake_judges(TEXTS), tmp_path)
    direct = score_clip(TURN.audio, TURN.text, fake_judges(TEXTS), profile=ANNA["anna"])
    assert scorer.turn(TURN, ANNA).as_row() == direct.as_row()
