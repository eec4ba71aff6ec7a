"""A work is made, watched, stopped and made again, by a real server with a tiny model."""

import shutil
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fireredtts2 import FireRedTTS2
from fireredtts2.config import OUTPUT_SAMPLES_PER_FRAME
from fireredtts2.script import parse_script
from fireredtts2.ui import sound_file
from fireredtts2.ui.api_client import ApiClient
from fireredtts2.ui.errors import StudioError
from fireredtts2.ui.production import Production
from fireredtts2.ui.sound_file import GrowingSound, peaks_of, read_sound
from fireredtts2.ui.work import Work
from fireredtts2.ui.work_file import load_work, save_work
from tests.serving.hosting import model, until
from tests.ui.hosting import VOICES, api_server

pytest_plugins = ("tests.speaking",)
FRAMES = 12
SCRIPT = "[S1] One.\n[S2] Two.\n[S1] Three."


@pytest.fixture
def tts(voiced_checkpoint: Path) -> FireRedTTS2:
    return model(voiced_checkpoint, FRAMES)


@pytest.fixture
def address(tts: FireRedTTS2, tmp_path: Path) -> Iterator[str]:
    with api_server(tts, tmp_path) as address:
        yield address


def production(folder: Path, script: str = SCRIPT) -> Production:
    folder.mkdir(exist_ok=True)
    work = Work(voices=dict(VOICES), seed=3)
    work.take_script(script, parse_script(script))
    save_work(work, folder)
    return Production(folder, work)


def make(made: Production, address: str) -> None:
    made.start(ApiClient(address))
    made.join(60)
    assert made.progress().state == "idle", made.progress().message


def sounds(made: Production) -> list[np.ndarray]:
    return [
        np.array(read_sound(made.folder, turn.sound.name)) for turn in made.work.turns if turn.sound
    ]


def test_every_turn_is_made_and_kept(address: str, tmp_path: Path) -> None:
    made = production(tmp_path / "work")
    make(made, address)
    assert [len(one) for one in sounds(made)] == [FRAMES * OUTPUT_SAMPLES_PER_FRAME] * 3
    assert all(np.abs(one).max() > 0 for one in sounds(made))
    kept = Production(made.folder, load_work(made.folder))
    assert kept.work == made.work
    assert kept.progress().num_made == 3


def test_the_same_seed_makes_the_same_sound(address: str, tmp_path: Path) -> None:
    first, second = production(tmp_path / "a"), production(tmp_path / "b")
    make(first, address)
    make(second, address)
    for one, other in zip(sounds(first), sounds(second), strict=True):
        np.testing.assert_array_equal(one, other)


def test_only_what_changed_is_made_again(address: str, tmp_path: Path) -> None:
    made = production(tmp_path / "work")
    make(made, address)
    before = [turn.sound.name for turn in made.work.turns]
    text = SCRIPT.replace("Two.", "Second.") + "\n[S2] Four."
    made.change(lambda work: work.take_script(text, parse_script(text)))
    make(made, address)
    after = [turn.sound.name for turn in made.work.turns]
    assert [after[0], after[2]] == [before[0], before[2]]
    assert after[1] != before[1]
    assert len(after) == 4
    # What nobody needs any more is not kept.
    assert {path.stem for path in made.folder.glob("*.pcm")} == set(after)


def test_a_turn_with_a_seed_of_its_own_sounds_otherwise(address: str, tmp_path: Path) -> None:
    made = production(tmp_path / "work")
    make(made, address)
    before = sounds(made)

    def again(work: Work) -> None:
        work.put(replace(work.turns[1], seed=99, sound=None))

    made.change(again)
    make(made, address)
    after = sounds(made)
    assert not np.array_equal(before[1], after[1])
    np.testing.assert_array_equal(before[0], after[0])


def test_it_is_heard_while_it_is_made(
    tts: FireRedTTS2, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = production(tmp_path / "work", "[S1] One.")
    goes_on = threading.Event()
    write = GrowingSound.write

    def held(self: GrowingSound, data: bytes) -> None:
        write(self, data)
        if self.num_samples >= 2 * OUTPUT_SAMPLES_PER_FRAME:
            assert goes_on.wait(20)

    monkeypatch.setattr(GrowingSound, "write", held)
    made.start(ApiClient(address))
    until(lambda: made.growing() is not None and made.growing().num_samples > 0)
    growing = made.growing()
    with growing.open() as file:
        heard = file.read()
        assert heard
        assert not growing.is_over
        assert made.progress().state == "making"
        goes_on.set()
        made.join(20)
        heard += file.read()
    assert growing.is_over
    np.testing.assert_array_equal(np.frombuffer(heard, "<i2"), sounds(made)[0])


def test_stopped_and_made_to_the_end(tts: FireRedTTS2, address: str, tmp_path: Path) -> None:
    made = production(tmp_path / "work", "\n".join(f"[S1] Turn {n}." for n in range(30)))
    made.start(ApiClient(address))
    until(lambda: made.progress().num_made >= 2, 30)
    made.stop()
    made.join(20)
    stopped = made.progress()
    assert stopped.state == "stopped"
    assert 2 <= stopped.num_made < 30
    kept = sounds(made)
    assert list(made.folder.glob("*.part")) == []
    until(lambda: not tts.studio.engine.scheduler.live)
    make(made, address)
    for one, other in zip(kept, sounds(made), strict=False):
        np.testing.assert_array_equal(one, other)


def test_changes_wait_until_it_is_stopped(address: str, tmp_path: Path) -> None:
    made = production(tmp_path / "work", "\n".join(f"[S1] Turn {n}." for n in range(50)))
    made.start(ApiClient(address))
    with pytest.raises(StudioError, match="stop it first"):
        made.change(lambda work: work.turns.clear())
    with pytest.raises(StudioError, match="already"):
        made.start(ApiClient(address))
    made.stop()
    made.join(20)
    assert len(made.work.turns) == 50


def test_a_server_that_goes_away_costs_one_turn_at_most(tts: FireRedTTS2, tmp_path: Path) -> None:
    made = production(tmp_path / "work", "\n".join(f"[S1] Turn {n}." for n in range(40)))
    with api_server(tts, tmp_path) as address:
        made.start(ApiClient(address))
        until(lambda: made.progress().num_made >= 2, 30)
    made.join(30)
    failed = made.progress()
    assert failed.state == "failed"
    assert "server" in failed.message
    assert failed.num_made >= 2
    with api_server(tts, tmp_path) as address:
        make(made, address)
    assert made.progress().num_made == 40


def test_a_full_server_is_waited_for(
    tts: FireRedTTS2, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = production(tmp_path / "work", "[S1] One.")
    refusals = [StudioError("full", 429, "", 0.05), StudioError("full", 429, "", 0.05)]
    speech, states = ApiClient.speech, []

    def full_at_first(self: ApiClient, asked: dict):
        states.append(made.progress().state)
        if refusals:
            raise refusals.pop()
        return speech(self, asked)

    monkeypatch.setattr(ApiClient, "speech", full_at_first)
    with api_server(tts, tmp_path) as address:
        make(made, address)
    assert states == ["making", "waiting", "waiting"]


def test_a_session_that_is_gone_is_opened_again(
    tts: FireRedTTS2, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = production(tmp_path / "work")
    gone = [StudioError("expired", 410, "session_expired")]
    speech = ApiClient.speech

    def expired(self: ApiClient, asked: dict):
        if gone:
            raise gone.pop()
        return speech(self, asked)

    monkeypatch.setattr(ApiClient, "speech", expired)
    make(made, address)


def test_a_voice_that_is_gone_is_said(address: str, tmp_path: Path) -> None:
    made = production(tmp_path / "work")
    made.change(lambda work: work.voices.update(S2="nobody"))
    made.start(ApiClient(address))
    made.join(20)
    assert made.progress().state == "failed"
    assert "no voice 'nobody'" in made.progress().message
    made.change(lambda work: work.voices.pop("S2"))
    with pytest.raises(StudioError, match="S2: choose a voice"):
        made.start(ApiClient(address))


def test_a_full_disk_is_said_and_costs_nothing_before_it(
    address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = production(tmp_path / "work")
    make(made, address)
    text = SCRIPT + "\n[S1] Four."
    made.change(lambda work: work.take_script(text, parse_script(text)))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(sound_file.GrowingSound, "write", full)
        made.start(ApiClient(address))
        made.join(20)
    assert made.progress().state == "failed"
    assert "No space left" in made.progress().message
    assert made.progress().num_made == 3
    make(made, address)


def test_watchers_are_told_of_what_changed(address: str, tmp_path: Path) -> None:
    made = production(tmp_path / "work")
    assert len(made.changed_turns(0)) == 3
    revision = made.progress().revision
    assert made.changed_turns(revision) == []
    text = SCRIPT + "\n[S1] Four."
    made.change(lambda work: work.take_script(text, parse_script(text)))
    assert made.progress().revision > revision
    assert [turn.text for turn in made.changed_turns(revision)] == ["Four."]


def test_the_picture_is_as_high_as_the_sound(tmp_path: Path) -> None:
    samples = np.zeros(24_000, np.int16)
    samples[12_000:12_960] = 8_192
    samples[23_999] = -32_768
    path = tmp_path / "a.pcm"
    samples.tofile(path)
    peaks = np.frombuffer(peaks_of(path), np.uint8)
    assert len(peaks) == 25
    assert peaks[12] == 127
    assert peaks[-1] == 255
    assert peaks[:12].max() == 0
    assert peaks_of(tmp_path / "none.pcm") == b""


def test_half_samples_wait_for_their_other_half(tmp_path: Path) -> None:
    sound = GrowingSound(tmp_path, "a")
    for byte in b"\x01\x02\x03\x04\x05":
        sound.write(bytes([byte]))
    sound.finish()
    assert read_sound(tmp_path, "a").tolist() == [0x0201, 0x0403]
    shutil.rmtree(tmp_path)
