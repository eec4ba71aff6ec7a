"""The report counts what there was, and the page shows it without anything beside it."""

import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest

from fireredtts2.training.prepare.histogram import MAX_BARS, Histogram, drawn
from fireredtts2.training.prepare.judge import Verdict
from fireredtts2.training.prepare.recordings import AudioPlace, Recording, Turn
from fireredtts2.training.prepare.report import Report


def heights(picture: str, kind: str) -> list[float]:
    found = re.findall(rf'class="{kind}" [^>]*height="([\d.]+)"', picture)
    return [float(height) for height in found]


def test_a_histogram_counts_and_draws() -> None:
    histogram = Histogram("Length <s>", "s", 0.5)
    for value, kept in ((0.9, True), (0.6, True), (0.7, False), (2.1, False), (None, True)):
        histogram.add(value, kept)
    values = histogram.values()
    assert values["first"] == 0.5
    assert values["kept"] == [2, 0, 0, 0]
    assert values["refused"] == [1, 0, 0, 1]
    picture = drawn(values)
    ElementTree.fromstring(picture)  # well formed
    assert "Length &lt;s&gt;" in picture
    assert heights(picture, "kept")[0] == pytest.approx(2 * heights(picture, "refused")[0], abs=0.2)
    assert "0.5 to 1 s: 2 kept, 1 refused" in picture
    assert "nothing measured" in drawn(Histogram("Empty", "s", 1.0).values())


def test_many_bins_are_joined() -> None:
    histogram = Histogram("Wide", "dB", 1.0)
    for value in range(-100, 100):
        histogram.add(value, kept=True)
    picture = drawn(histogram.values())
    bars = re.findall(r"(\d+) kept", picture)
    assert len(bars) <= MAX_BARS
    assert sum(map(int, bars)) == 200


def test_the_page_is_whole_and_harmless(tmp_path: Path) -> None:
    report = Report(tmp_path, "folder")
    place = AudioPlace(Path("x.wav"))
    evil = "<script>alert(1)</script>"
    turns = (Turn(place, "One.", evil), Turn(place, "Two.", "Bob"))
    verdicts = [Verdict("silence", f"{evil} heard", 1.0), Verdict("", "", 2.0, 12.0, -20.0, -3.0)]
    report.add(Recording(evil, turns, "en", "line 1"), verdicts, [], "train")
    report.write()
    page = (tmp_path / "report.html").read_text("utf-8")
    assert evil not in page
    assert "&lt;script&gt;" in page
    assert not re.search(r"(?:src|href)=|url\(|@import", page)
    assert "nothing, or next to nothing, can be heard" in page
    values = json.loads((tmp_path / "report.json").read_text("utf-8"))
    assert (values["turns"], values["turns_refused"], values["refused"]) == (2, 1, {"silence": 1})
    (row,) = map(json.loads, (tmp_path / "refused.jsonl").read_text("utf-8").splitlines())
    assert row == {"id": evil, "reason": "silence", "detail": f"{evil} heard", "source": "line 1",
                   "turn": 1}  # fmt: skip
