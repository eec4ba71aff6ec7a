"""The studio in a real browser: clicks, sound that arrives, files that come down.

`make test-studio` runs these; they need Chromium, on the path or as FIREREDTTS2_CHROMIUM.
"""

import os
import re
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import soundfile

from fireredtts2 import FireRedTTS2
from tests.ui.hosting import api_server, studio_server

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = os.environ.get("FIREREDTTS2_CHROMIUM") or shutil.which("chromium")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium on the path"),
]
ARGUMENTS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update",
    "--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream",
]  # fmt: skip
DESKTOP, PHONE = {"width": 1280, "height": 900}, {"width": 390, "height": 844}
PATIENCE_MS = 60_000
FIRST = "Welcome back to the show. Today we talk about the weather."


@pytest.fixture(scope="module")
def studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A studio before a server with the embedded model."""
    folder = tmp_path_factory.mktemp("studio")
    with (
        api_server(FireRedTTS2("mini", num_slots=2), folder) as address,
        studio_server(address, folder / "works") as (at, _),
    ):
        yield at


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


class Visitor:
    """Somebody at a page, who notices what goes wrong there."""

    def __init__(self, browser: Any, at: str, viewport: dict[str, int] = DESKTOP) -> None:
        self.at, self.faults, self.foreign = at, [], []
        self.context = browser.new_context(viewport=viewport, permissions=["microphone"])
        self.page = self.context.new_page()
        self.page.set_default_timeout(PATIENCE_MS)
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("request", self._note)
        self.visit()

    def _note(self, request: Any) -> None:
        if not re.match(r"(http://127\.0\.0\.1:|data:|blob:)", request.url):
            self.foreign.append(request.url)

    def visit(self, path: str = "/") -> None:
        self.page.goto(self.at + path)
        self.page.wait_for_function("Boolean(document.querySelector('#voice-S1 input')?.value)")

    def told(self) -> dict[str, str]:
        """What the player says of itself."""
        return dict(
            self.page.eval_on_selector("#player .player", "e=>({...e.parentElement.dataset})")
        )

    def wait(self, condition: str) -> None:
        """Until something is so of the player's `d`."""
        self.page.wait_for_function(
            "(condition) => { const d = document.querySelector('#player .player')?.parentElement"
            ".dataset ?? {}; return new Function('d', `return ${condition}`)(d) }",
            arg=condition,
        )

    def make(self) -> None:
        self.page.click("#make")
        self.wait("d.state == 'making'")
        self.wait("d.state == 'idle'")

    def turns(self) -> list[str]:
        return [one.inner_text() for one in self.page.query_selector_all(".turns .said")]

    def seconds(self) -> list[str]:
        return [one.inner_text() for one in self.page.query_selector_all(".turns .length")]

    def download(self, name: str, folder: Path) -> Path:
        with self.page.expect_download() as coming:
            self.page.click(f"a[data-file='{name}']")
        coming.value.save_as(folder / name)
        return folder / name

    def leave(self) -> None:
        self.context.close()
        assert self.faults == []
        assert self.foreign == []


@pytest.fixture
def visitor(browser: Any, studio: str) -> Iterator[Visitor]:
    visitor = Visitor(browser, studio)
    yield visitor
    visitor.leave()


def test_sound_arrives_while_it_is_made(visitor: Visitor) -> None:
    visitor.page.click("#make")
    visitor.wait("Number(d.loudest) > 0.05")
    visitor.wait("d.state == 'idle'")
    assert visitor.turns()[0] == FIRST
    heard = visitor.told()
    total_s = sum(float(one.split()[0]) for one in visitor.seconds())
    visitor.wait(f"Number(d.scheduled) > {int(24_000 * (total_s - 0.5))}")
    assert int(heard["scheduled"]) > 0


def test_one_turn_is_changed_and_the_rest_stays(visitor: Visitor) -> None:
    visitor.make()
    before = visitor.seconds()
    visitor.page.click(".turns li:nth-child(2)")
    visitor.page.wait_for_selector("#turn-text textarea", state="visible")
    visitor.page.fill(
        "#turn-text textarea", "Which is, for once, a good deal better than I thought."
    )
    visitor.page.click("#again")
    visitor.wait("d.state == 'making'")
    visitor.wait("d.state == 'idle'")
    after = visitor.seconds()
    assert after[:1] + after[2:] == before[:1] + before[2:]
    assert after[1] != before[1]
    assert "a good deal better" in visitor.page.input_value("#script textarea")


def test_stopping_keeps_what_was_made(visitor: Visitor) -> None:
    lines = [
        f"[S1] This is sentence number {n} of a script that is rather long." for n in range(60)
    ]
    visitor.page.fill("#script textarea", "\n".join(lines))
    visitor.page.click("#make")
    visitor.page.wait_for_function(
        "[...document.querySelectorAll('.turns .length')].some((e) => e.textContent.endsWith('s'))"
        " && /[1-9]\\d*\\/60/.test(document.querySelector('[data-at=status]').textContent)"
    )
    visitor.page.click("#stop")
    visitor.wait("d.state == 'stopped'")
    made = [one for one in visitor.seconds() if one != "…"]
    assert 1 <= len(made) < 60
    visitor.page.reload()
    visitor.wait("d.state == 'idle' && d.token")
    visitor.page.wait_for_selector(".turns li")
    assert [one for one in visitor.seconds() if one != "…"] == made


def test_files_come_down_and_the_project_opens_again(visitor: Visitor, tmp_path: Path) -> None:
    visitor.make()
    turns, lengths = visitor.turns(), visitor.seconds()
    info = soundfile.info(visitor.download("mix.flac", tmp_path))
    assert info.samplerate == 24_000
    assert info.duration > sum(float(one.split()[0]) for one in lengths) - 0.5
    assert visitor.download("mix.mp3", tmp_path).stat().st_size > 10_000
    with zipfile.ZipFile(visitor.download("stems.zip", tmp_path)) as stems:
        assert stems.namelist() == ["S1-Anna.flac", "S2-Ben.flac"]
    assert "<v Anna>" in visitor.download("subtitles.vtt", tmp_path).read_text()
    project = visitor.download("project.firered", tmp_path)
    visitor.page.click("#new")
    visitor.page.wait_for_function("!document.querySelector('.turns li')")
    with visitor.page.expect_file_chooser() as chooser:
        visitor.page.click("#open-project")
    chooser.value.set_files(project)
    visitor.page.wait_for_selector(".turns li")
    assert visitor.turns() == turns
    assert visitor.seconds() == lengths


def test_what_is_wrong_is_said_on_the_page(visitor: Visitor) -> None:
    visitor.page.fill("#script textarea", "nobody says this")
    visitor.page.click("#make")
    visitor.page.get_by_text("line 1: no speaker before").wait_for()
    visitor.page.fill("#script textarea", "[S1] <img src=x onerror=alert(1)> It's fine.")
    visitor.make()
    assert visitor.turns() == ["<img src=x onerror=alert(1)> It's fine."]
    assert visitor.page.query_selector(".turns img") is None


def test_a_voice_is_recorded_heard_and_used(visitor: Visitor) -> None:
    page = visitor.page
    page.get_by_role("tab").nth(1).click()
    page.click("#clip button[aria-label='Record audio']")
    page.locator("#clip").get_by_role("button", name="Record", exact=True).click()
    page.wait_for_timeout(3_000)
    page.locator("#clip").get_by_role("button", name="Stop", exact=True).first.click()
    page.wait_for_selector("#clip audio, #clip canvas, #clip #waveform", state="attached")
    page.fill("#voice-name input, #voice-name textarea", "beeper")
    page.fill("#clip-text textarea", "Beep, beep, beep.")
    page.click("#add-voice")
    page.get_by_text("beeper is in the library").wait_for()
    page.click("#listen")
    page.wait_for_selector("#heard audio, #heard #waveform", state="attached")
    page.click("#remove")
    page.get_by_text("beeper was deleted").wait_for()


def test_two_visitors_share_nothing(browser: Any, studio: str) -> None:
    anna, ben = Visitor(browser, studio), Visitor(browser, studio)
    anna.page.fill("#script textarea", "[S1] This is mine alone.")
    anna.page.evaluate("document.querySelector('header a').click()")
    anna.page.wait_for_function("document.documentElement.textContent.includes('生成并播放')")
    assert "Make and listen" in ben.page.content()
    ben.make()
    anna.visit("/")
    assert anna.turns() == []
    assert len(ben.turns()) == 4
    anna.leave()
    ben.leave()


def test_it_fits_a_phone(browser: Any, studio: str) -> None:
    visitor = Visitor(browser, studio, PHONE)
    visitor.make()
    width = visitor.page.evaluate("document.documentElement.scrollWidth")
    assert width <= PHONE["width"]
    box = visitor.page.locator("#make").bounding_box()
    assert box["height"] >= 36
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= PHONE["width"]
    visitor.leave()
