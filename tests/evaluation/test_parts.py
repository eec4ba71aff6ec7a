"""The parts' rows name what belongs together, and their intervals are over that."""

from pathlib import Path

import pytest

from fireredtts2.evaluation.items import dialogue_items, sentence_items
from fireredtts2.evaluation.measures import WER
from fireredtts2.evaluation.parts import dialogue_part, runaways_part, sentences_part
from fireredtts2.evaluation.scorer import Scorer
from fireredtts2.evaluation.sets import load_dialogues, load_sentences
from fireredtts2.evaluation.synthesis import Studio
from fireredtts2.speech import Speech
from fireredtts2.voices import Voice
from tests.evaluation.fakes import PITCH_HZ, TEXTS, FakeTTS, fake_judges, fake_voice

VOICES = sorted(PITCH_HZ)


def studio_and_scorer(folder: Path) -> tuple[Studio, Scorer]:
    voices = {name: fake_voice(name) for name in VOICES}
    studio = Studio(FakeTTS(TEXTS), voices, folder / "audio", "a model")
    return studio, Scorer.in_folder(fake_judges(TEXTS), folder / "judged")


def test_turns_name_their_dialogue_and_sentences_stand_alone(tmp_path: Path) -> None:
    studio, scorer = studio_and_scorer(tmp_path)
    items = dialogue_items(load_dialogues(2), VOICES, 0)
    part = dialogue_part(studio, items, scorer, {})
    assert [row["group"] for row in part.rows] == [item.id for item in items for _ in item.lines]
    wer = next(figure for figure in part.figures if figure.key == "dialogue.wer")
    assert (wer.count, wer.groups, wer.has_too_few) == (12, 2, True)
    sentences = sentences_part(studio, sentence_items(load_sentences(4), VOICES, 0), scorer, {})
    assert all("group" not in row for row in sentences.rows)
    assert sentences.figures[0].groups is None


def test_the_interval_is_over_whole_dialogues() -> None:
    """A quarter of the dialogues fail as a whole: far less certain than as many lone turns."""
    rows = [
        {"id": f"{n}_{turn}", "group": f"d{n}", "word_errors": 10 * (n % 4 == 0), "words": 10}
        for n in range(24)
        for turn in range(6)
    ]
    alone = WER.figure("dialogue", [{**row, "group": None} for row in rows])
    together = WER.figure("dialogue", rows)
    assert together.value == alone.value == pytest.approx(25)
    assert (together.count, together.groups, together.has_too_few) == (144, 24, False)
    ungrouped = [{key: row[key] for key in row if key != "group"} for row in rows]
    assert alone == WER.figure("dialogue", ungrouped)
    widths = [high - low for low, high in (alone.interval, together.interval)]
    assert widths[1] == pytest.approx(6**0.5 * widths[0], rel=0.2)


class RefusingTTS(FakeTTS):
    """Refuses whatever it is given, as a model does whose voices are another codec's."""

    def dialogue(self, script: list[str], voices: dict[str, Voice], *, seed: int) -> Speech:
        raise ValueError("voice made with another codec")


def test_a_model_that_refuses_everything_is_not_measured(tmp_path: Path) -> None:
    """All words would count as wrong, and that says nothing of how it speaks."""
    voices = {name: fake_voice(name) for name in VOICES}
    studio = Studio(RefusingTTS(TEXTS), voices, tmp_path / "audio", "a model")
    scorer = Scorer.in_folder(fake_judges(TEXTS), tmp_path / "judged")
    sentences = sentence_items(load_sentences(2), VOICES, 0)
    dialogues = dialogue_items(load_dialogues(2), VOICES, 0)
    reason = "no item was spoken; the first was refused: voice made with another codec"
    with pytest.raises(ValueError, match=f"^sentences: {reason}"):
        sentences_part(studio, sentences, scorer, {})
    with pytest.raises(ValueError, match=f"^dialogue: {reason}"):
        dialogue_part(studio, dialogues, scorer, {})
    with pytest.raises(ValueError, match=f"^runaways: {reason}"):
        runaways_part(studio, [*sentences, *dialogues])
