"""The page: one file, everything escaped, and there with or without sound."""

import base64
import io
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from fireredtts2.evaluation.comparison import compare
from fireredtts2.evaluation.comparison_report import write_comparison
from fireredtts2.evaluation.page.render import write_page
from fireredtts2.evaluation.report import Figure, Part, write_report
from fireredtts2.evaluation.saved_report import SavedReport
from tests.evaluation.fakes import tone

ABOUT = {"model": "mini", "weights": "0123"}
NASTY = "</script><script>alert(1)</script><img src=x onerror=alert(2)> \"'><b>&amp; fish | chips"
VOID = {"meta", "link", "img", "br", "hr", "input"}


class Page(HTMLParser):
    """A page's tags with their attributes, and its text; fails where tags do not nest."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text(encoding="utf-8")
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(self.source)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def row(number: int, **values: Any) -> dict[str, Any]:
    return {
        "id": f"s_{number}", "voice": "anna", "text": f"Text number {number}.",
        "heard": f"text number {number}", "words": 3, "word_errors": 0, "similarity": 0.9,
        "seconds": 1.0, "error": "", "audio": f"audio/s_{number}.wav", **values,
    }  # fmt: skip


def page_of(folder: Path, *parts: Part, num_items: int = 24) -> Page:
    write_page(folder / "report.html", ABOUT, parts, folder, num_items)
    return Page(folder / "report.html")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "audio").mkdir()
    for number in range(3):
        soundfile.write(tmp_path / "audio" / f"s_{number}.wav", tone(400, 1.0), 24_000)
    return tmp_path


def assert_alone(page: Page) -> None:
    """Nothing is loaded from elsewhere: every source is in the page itself."""
    for name in ("src", "href", "srcset", "poster", "action", "data"):
        sources = [a[name] for _, a in page.tags if name in a]
        assert all(s.startswith(("data:", "#")) for s in sources), sources
    assert not re.search(r"url\(|@import|https?://", page.source)
    assert not page.all("link")
    (policy,) = [a["content"] for a in page.all("meta") if "http-equiv" in a]
    assert policy.startswith("default-src 'none'")


def decoded(url: str) -> bytes:
    return base64.b64decode(url.partition(",")[2], validate=True)


def test_the_page_stands_alone_with_sounds_and_pictures(folder: Path) -> None:
    figure = Figure("sentences.wer", "Word error rate", 8.1, "%", 100, interval=(3.0, 9.5))
    page = page_of(folder, Part("sentences", [figure], [row(n) for n in range(3)], ["A note."]))
    assert_alone(page)
    sounds, pictures = page.all("audio"), page.all("img")
    assert (len(sounds), len(pictures)) == (3, 3)
    heard, rate_hz = soundfile.read(io.BytesIO(decoded(sounds[0]["src"])))
    loudest = np.abs(np.fft.rfft(heard)).argmax() * rate_hz / len(heard)
    assert loudest == pytest.approx(400, abs=3)
    assert decoded(pictures[0]["src"]).startswith(b"\x89PNG")
    for text in ("8.10 %", "3.00 % to 9.50 %", "at most 5.00 %", "A note.", "mini", "0123"):
        assert text in page.text


def test_every_text_is_escaped(folder: Path) -> None:
    nasty = row(
        0, id=NASTY, text=NASTY, heard=NASTY, error=NASTY, voice=NASTY, audio=f"audio/{NASTY}"
    )
    part = Part(
        NASTY,
        [Figure("x.y", NASTY, 1.0, "%", 1, NASTY, paper=NASTY)],
        [nasty, row(1, **{k: v for k, v in nasty.items() if k != "id"})],
        [NASTY, f"| {NASTY} |", "|---|"],
    )
    write_page(folder / "report.html", {NASTY: NASTY}, [part], folder, 1)
    page = Page(folder / "report.html")
    assert len(page.all("script")) == 1
    assert not page.all("b")
    assert not [a for _, a in page.tags if any(name.startswith("on") for name in a)]
    assert page.text.count("alert(1)") >= 8


def test_without_audio_the_page_has_the_texts(tmp_path: Path) -> None:
    rows = [row(0), row(1, audio=None), row(2, audio="audio/empty.wav"), row(3, audio="no.wav")]
    (tmp_path / "audio").mkdir()
    soundfile.write(tmp_path / "audio" / "empty.wav", np.zeros(0), 24_000)
    (tmp_path / "no.wav").write_bytes(b"no sound")
    page = page_of(tmp_path, Part("sentences", [], rows))
    assert not page.all("audio")
    assert len(page.all("article")) == 4
    assert "number" in page.text


def test_a_very_short_sound_can_be_shown(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "short.wav", tone(400, 0.001), 24_000)
    assert (
        len(page_of(tmp_path, Part("sentences", [], [row(0, audio="short.wav")])).all("img")) == 1
    )


@pytest.mark.parametrize(("num_items", "shown"), [(0, 0), (1, 1), (3, 3), (9, 3)])
def test_items_beyond_the_first_are_linked(folder: Path, num_items: int, shown: int) -> None:
    rows = [row(n) for n in range(3)]
    page = page_of(folder, Part("sentences", [], rows), num_items=num_items)
    assert len(page.all("audio")) == shown
    links = [a["href"] for a in page.all("a") if a["href"].endswith(".wav")]
    assert links == [f"audio/s_{n}.wav" for n in range(shown, 3)]


def test_the_worst_come_first(tmp_path: Path) -> None:
    rows = [row(0, similarity=0.9), row(1, similarity=0.5), row(2, word_errors=2), row(3)]
    page = page_of(tmp_path, Part("sentences", [], rows))
    assert [a["id"] for a in page.all("article")] == [f"sentences-s_{n}" for n in (2, 1, 0, 3)]


def test_sorting_names_data_that_the_items_have(tmp_path: Path) -> None:
    rows = [row(n, word_errors_original=n, pitch_range_st=2.0) for n in range(2)]
    page = page_of(tmp_path, Part("codec", [], rows))
    options = [a["value"].split() for a in page.all("option")]
    assert ["wer", "down"] in options
    assert ["similarity", "up"] in options
    names = {key for key in page.all("article")[0] if key.startswith("data-")}
    for key, _ in options:
        assert "data-" + re.sub("[A-Z]", lambda m: "-" + m[0].lower(), key) in names


def test_words_that_differ_are_marked(tmp_path: Path) -> None:
    rows = [row(0, text="The cat sat, here.", heard="the dog sat here now", word_errors=2)]
    source = page_of(tmp_path, Part("sentences", [], rows)).source
    assert re.findall(r"<mark>(.*?)</mark>", source) == ["cat", "dog", "now"]


def test_charts_need_some_values_and_take_equal_ones(tmp_path: Path) -> None:
    few = page_of(tmp_path, Part("sentences", [], [row(n) for n in range(4)]))
    assert not few.all("svg")
    page = page_of(tmp_path, Part("sentences", [], [row(n, dnsmos=None) for n in range(5)]))
    labels = [a["aria-label"] for a in page.all("svg")]
    assert "Word error rate: 5 values, median 0 %" in labels
    assert not any("DNSMOS" in label for label in labels)


def test_parts_without_items_and_no_part_at_all(tmp_path: Path) -> None:
    speed = Part("speed", [Figure("speed.load", "Load", None, "s", 1)], [{"id": "speed_0"}])
    faulty = Part("runaways", [], [row(0, fault="empty")])
    page = page_of(tmp_path, speed, faulty, Part("dialogue", [], [], ["Not measured: it failed."]))
    assert "not measured" in page.text
    assert "Not measured: it failed." in page.text
    assert [a["id"] for a in page.all("article")] == ["runaways-s_0"]
    assert "Evaluation report" in page_of(tmp_path).text


def test_the_comparison_has_both_sounds_side_by_side(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    (other / "audio").mkdir(parents=True)
    soundfile.write(other / "audio" / "s_2.wav", tone(800, 1.0), 24_000)
    write_report(folder, ABOUT, [Part("sentences", [], [row(n) for n in range(6)])])
    rows = [row(n, heard=NASTY, error=NASTY, word_errors=3 * (n == 2)) for n in range(6)]
    write_report(other, {"model": NASTY}, [Part("sentences", [], rows)])
    found = compare(SavedReport.load(folder), SavedReport.load(other))
    write_comparison(tmp_path / "out", found, 2)
    page = Page(tmp_path / "out" / "comparison.html")
    assert_alone(page)
    assert len(page.all("script")) == 1
    assert "Items, what differs most first (2 of 6)" in page.text
    assert page.text.index("s_2") < page.text.index("s_0")
    assert len(page.all("article")) == 2
    assert len(page.all("audio")) == 3  # two of s_2, one of s_0
