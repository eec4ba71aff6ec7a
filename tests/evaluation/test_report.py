import json
from pathlib import Path

import pytest

from fireredtts2.evaluation.goals import GOALS
from fireredtts2.evaluation.page.render import write_page
from fireredtts2.evaluation.report import Figure, Part, markdown, write_report

ABOUT = {"model": "mini", "weights": "0123"}


def wer(value: float | None, count: int = 100) -> Figure:
    return Figure("sentences.wer", "Word error rate", value, "%", count, interval=(3.0, 9.5))


@pytest.mark.parametrize(
    ("figure", "verdict"),
    [
        (wer(5.0), "pass"),
        (wer(5.01), "fail"),
        (wer(4.0, count=99), "too few"),
        (wer(50.0, count=9), "fail"),
        (wer(None), "not measured"),
        (Figure("sentences.similarity", "Cosine", 0.85, "cosine", 100), "pass"),
        (Figure("sentences.similarity", "Cosine", 0.84, "cosine", 100), "fail"),
        (Figure("runaways.returned", "Runaways", 1, "turns", 300), "fail"),
        (Figure("runaways.returned", "Runaways", 0, "turns", 160), "too few"),
        (Figure("sentences.cer", "Characters", 3.0, "%", 100), ""),
    ],
)
def test_verdicts(figure: Figure, verdict: str) -> None:
    assert figure.verdict == verdict


def test_the_page_shows_value_goal_and_result() -> None:
    row = {"id": "s_0", "text": "a | b", "heard": "c", "words": 2, "word_errors": 2}
    page = markdown(ABOUT, [Part("sentences", [wer(4.1)], [row], ["A note."])])
    assert (
        "| Word error rate | 4.10 % (95 %: 3.00 % to 9.50 %) | at most 5.00 % | pass | 100 |"
        in page
    )
    assert "| s_0 | 2 of 2 | a / b | c |" in page
    assert "A note." in page
    assert "- weights: 0123" in page


def test_few_items_have_no_interval(tmp_path: Path) -> None:
    """A few turns, or many turns of few dialogues: the value stands alone."""
    few, enough = wer(4.1, count=9), wer(4.1, count=10)
    dialogues = Figure("dialogue.wer", "Dialogue", 4.1, "%", 60, interval=(3.0, 9.5), groups=9)
    write_report(tmp_path, ABOUT, [Part("sentences", [few, enough, dialogues], [])])
    page = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "| 4.10 % (too few items for an interval) | at most 5.00 % |" in page
    assert "| Dialogue | 4.10 % (too few items for an interval) |" in page
    assert "| 60 in 9 groups |" in page
    assert page.count("95 %") == 1
    values = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert [f["interval"] for f in values["figures"]] == [None, [3.0, 9.5], None]
    write_page(tmp_path / "report.html", ABOUT, [Part("dialogue", [dialogues], [])], tmp_path)
    html = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "too few items for an interval" in html
    assert "60 in 9 groups" in html
    assert "9.50 %" not in html


def test_every_goal_of_the_model_has_a_bound() -> None:
    assert len(GOALS) == 15
    assert GOALS["speed.first_audio"].bound == 0.3
    assert GOALS["codec.wer_cost"].is_met(-0.5)


def test_json_keeps_figures_and_rows(tmp_path: Path) -> None:
    rows = [{"id": "s_0", "word_errors": 0, "dnsmos": None}]
    write_report(tmp_path, ABOUT, [Part("sentences", [wer(4.1)], rows)])
    values = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert values["about"] == ABOUT
    assert values["figures"][0]["verdict"] == "pass"
    assert values["figures"][0]["goal"] == {"kind": "at most", "bound": 5.0, "min_count": 100}
    assert values["parts"]["sentences"]["rows"] == rows
    assert sorted(path.name for path in tmp_path.iterdir()) == ["report.json", "report.md"]


def test_a_part_comes_back_unless_it_measured_something_else(tmp_path: Path) -> None:
    part = Part("sentences", [wer(4.1)], [{"id": "s_0"}], ["A note."])
    path = tmp_path / "parts" / "wer.json"
    assert Part.load(path, ABOUT) is None
    part.save(path, ABOUT)
    assert Part.load(path, ABOUT) == part
    assert Part.load(path, {**ABOUT, "weights": "4567"}) is None


@pytest.mark.parametrize(
    "text", ["", "[]", '{"about": {}}', '{"about": {}, "figures": [{"a": 1}]}']
)
def test_a_part_of_another_version_is_as_none(tmp_path: Path, text: str) -> None:
    path = tmp_path / "wer.json"
    path.write_text(text, encoding="utf-8")
    assert Part.load(path, {}) is None
