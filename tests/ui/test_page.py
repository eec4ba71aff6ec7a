"""The studio's server: its page, its door, the routes of its player, and what hands do there."""

import dataclasses
import json
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import gradio as gr
import httpx
import numpy as np
import pytest
import soundfile

from fireredtts2 import FireRedTTS2
from fireredtts2.config import OUTPUT_RATE_HZ, OUTPUT_SAMPLES_PER_FRAME
from fireredtts2.training.codec.voice_adaptation import Adaptation
from fireredtts2.ui import page
from fireredtts2.ui.desk import Desk
from fireredtts2.ui.door import COOKIE
from fireredtts2.ui.hands import Edit, Form, Hands, default_cast
from fireredtts2.ui.sound_file import GrowingSound
from fireredtts2.ui.words import CHINESE, ENGLISH, WORDS
from tests.serving.hosting import KEYS, clip, model, until
from tests.ui.hosting import api_server, studio_server

pytest_plugins = ("tests.speaking",)
FRAMES = 12
SCRIPT = "Anna: One.\nBen: Two."
CAST = ("af_heart", "am_michael", None, None)
REQUEST = SimpleNamespace(client=SimpleNamespace(host="127.0.0.1"), cookies={})


@pytest.fixture
def tts(voiced_checkpoint: Path) -> FireRedTTS2:
    return model(voiced_checkpoint, FRAMES)


@pytest.fixture
def address(tts: FireRedTTS2, tmp_path: Path) -> Iterator[str]:
    with api_server(tts, tmp_path) as address:
        yield address


@pytest.fixture
def hands(address: str, tmp_path: Path) -> Hands:
    return Hands(Desk(tmp_path / "works"), address, ENGLISH)


def form(script: str = SCRIPT, **values) -> Form:
    return Form(**{"script": script, "cast": CAST, "seed": 7, "speed": 1.0, "gap_s": 0.0,
                   "title": "", **values})  # fmt: skip


def make(hands: Hands, token: str = "", **values) -> str:
    token, value = hands.make(token, form(**values), REQUEST)
    told = json.loads(value)
    assert (told["token"], told["play"]) == (token, True)
    made = hands.desk.get(token)
    made.join(60)
    assert made.progress().state == "idle", made.progress().message
    return token


# --- Words --------------------------------------------------------------------------------------


def test_both_languages_say_everything() -> None:
    for field in dataclasses.fields(ENGLISH):
        ours, theirs = getattr(ENGLISH, field.name), getattr(CHINESE, field.name)
        assert ours, field.name
        assert theirs, field.name
        if isinstance(ours, dict) and field.name != "examples":
            assert ours.keys() == theirs.keys()
        if isinstance(ours, str):
            assert ours.count("{}") == theirs.count("{}")


def test_every_word_is_used() -> None:
    folder = Path(page.__file__).parent
    source = "".join(path.read_text(encoding="utf-8") for path in folder.rglob("*.[pj][ys]"))
    for field in dataclasses.fields(ENGLISH):
        assert re.search(rf'words\.{field.name}\b|"{field.name}"', source), field.name


# --- The page -----------------------------------------------------------------------------------


def test_the_page_is_served_in_both_languages(address: str, tmp_path: Path) -> None:
    with studio_server(address, tmp_path / "works") as (studio, _):
        top = studio.removesuffix("/studio")
        assert httpx.get(f"{top}/").headers["location"] == "studio/"
        english = httpx.get(f"{studio}/", follow_redirects=True).text
        chinese = httpx.get(f"{studio}/zh/", follow_redirects=True).text
    assert "Write a conversation" in english
    assert CHINESE.subtitle in chinese
    assert WORDS.keys() == {"en", "zh"}


def test_nothing_is_asked_of_other_servers(address: str, tmp_path: Path) -> None:
    with studio_server(address, tmp_path / "works") as (studio, _):
        text = httpx.get(f"{studio}/", follow_redirects=True).text
        theme = httpx.get(f"{studio}/theme.css").text
    assert "fonts.googleapis.com" not in text + theme
    assert '"analytics_enabled":false' in text


def test_a_cast_of_what_there_is() -> None:
    assert default_cast(["x", "af_heart", "y"]) == ["af_heart", "x", "y", "af_heart"]
    assert default_cast([]) == [None] * 4


# --- Hands --------------------------------------------------------------------------------------


def test_a_work_is_made_and_made_otherwise(hands: Hands) -> None:
    token = make(hands, title="Show")
    work = hands.desk.get(token).work
    first = [turn.sound.name for turn in work.turns]
    assert work.title == "Show"
    assert make(hands, token, script=SCRIPT + "\nAnna: Three.") == token
    second = [turn.sound.name for turn in hands.desk.get(token).work.turns]
    assert second[:2] == first
    make(hands, token, seed=8)
    assert not set(first) & {turn.sound.name for turn in hands.desk.get(token).work.turns}


def test_a_turn_again(hands: Hands) -> None:
    token = make(hands)
    turn = hands.turn(token, hands.desk.get(token).work.turns[1].id)
    script, value = hands.again(token, turn.id, Edit("Second.", "S2", 0.5), REQUEST)
    assert script == "Anna: One.\n[pause:0.5s]\nBen: Second."
    assert json.loads(value)["turn_id"] == turn.id
    made = hands.desk.get(token)
    made.join(30)
    again = made.work.turns[1]
    assert again.sound is not None
    assert again.sound.name != turn.sound.name
    assert again.sound.text == "Second."


def test_a_turn_is_kept_for_later_and_deleted(hands: Hands) -> None:
    token = make(hands)
    work = hands.desk.get(token).work
    hands.keep(token, work.turns[0].id, Edit("First.", "S1", 0.0))
    progress = hands.desk.get(token).progress()
    assert (progress.state, progress.num_made) == ("idle", 1)
    script, _ = hands.delete(token, work.turns[0].id)
    assert script == "Ben: Two."


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"script": "  "}, "Write something"),
        ({"script": "no speaker here"}, "line 1"),
        ({"cast": (None, "am_michael", None, None)}, "S1 has none"),
        ({"seed": -3}, "seed -3"),
        ({"seed": 1.5}, "seed 1.5"),
        ({"speed": 99.0}, "speed 99: allowed are 0.5 to 2"),
        ({"gap_s": float("nan")}, "silence between turns nan"),
    ],
)
def test_what_is_wrong_is_said(hands: Hands, values: dict, said: str) -> None:
    with pytest.raises(gr.Error, match=said):
        hands.make("", form(**values), REQUEST)


def test_an_edit_of_several_turns_is_refused(hands: Hands) -> None:
    token = make(hands)
    id = hands.desk.get(token).work.turns[0].id
    with pytest.raises(gr.Error, match="one turn at a time"):
        hands.keep(token, id, Edit("One. [pause:1s] And more.", "S1", 0.0))
    with pytest.raises(gr.Error, match="gone"):
        hands.keep(token, 10_000, Edit("One.", "S1", 0.0))


def test_voices_are_added_heard_and_deleted(hands: Hands, tmp_path: Path) -> None:
    (tmp_path / "clip.wav").write_bytes(clip())
    assert hands.add_voice(str(tmp_path / "clip.wav"), "anna", "Words.", REQUEST) == "anna"
    assert "anna" in [voice["name"] for voice in hands.voices(REQUEST)]
    rate_hz, samples = hands.listen("anna", REQUEST)
    assert rate_hz == OUTPUT_RATE_HZ
    assert samples.dtype == np.int16
    assert hands.remove_voice("anna", REQUEST) == "anna"
    with pytest.raises(gr.Error, match="stays"):
        hands.remove_voice("af_heart", REQUEST)
    with pytest.raises(gr.Error, match="clip, a name"):
        hands.add_voice(None, "anna", "Words.", REQUEST)
    (tmp_path / "noise.wav").write_bytes(b"no sound")
    with pytest.raises(gr.Error, match=r"."):
        hands.add_voice(str(tmp_path / "noise.wav"), "anna", "Words.", REQUEST)


def test_a_voice_may_be_adapted_to(
    hands: Hands, tmp_path: Path, quick_adaptation: Adaptation
) -> None:
    (tmp_path / "clip.wav").write_bytes(clip())
    for name, adapt in (("anna", True), ("boris", False)):
        hands.add_voice(str(tmp_path / "clip.wav"), name, "Words.", REQUEST, adapt)
    known = {voice["name"]: voice["adapted"] for voice in hands.voices(REQUEST)}
    assert known == {"af_heart": False, "am_michael": False, "anna": True, "boris": False}


def test_a_voice_is_invented_and_kept(hands: Hands) -> None:
    _, samples = hands.invent(REQUEST)
    assert len(samples) == FRAMES * OUTPUT_SAMPLES_PER_FRAME
    assert hands.keep_invented(samples, "new_one", REQUEST) == "new_one"
    assert "new_one" in [voice["name"] for voice in hands.voices(REQUEST)]
    with pytest.raises(gr.Error, match="name"):
        hands.keep_invented(None, "x", REQUEST)


def test_a_project_and_a_script_are_opened(hands: Hands, tmp_path: Path) -> None:
    from fireredtts2.ui.exports import export

    token = make(hands)
    made = hands.desk.get(token)
    export(made.work, made.folder, "project.firered", tmp_path / "p.firered")
    other, opened = hands.open_project(str(tmp_path / "p.firered"))
    assert other != token
    assert opened.work == made.work
    assert opened.progress().num_made == 2
    (tmp_path / "s.txt").write_text("S1: Hello.")
    assert hands.open_script(str(tmp_path / "s.txt")) == "S1: Hello."
    (tmp_path / "s.txt").write_text("no speaker")
    with pytest.raises(gr.Error, match=r"s\.txt: line 1: no speaker"):
        hands.open_script(str(tmp_path / "s.txt"))


def test_a_server_that_is_not_there_is_said(tmp_path: Path) -> None:
    hands = Hands(Desk(tmp_path / "works"), "http://127.0.0.1:9", ENGLISH)
    with pytest.raises(gr.Error, match="cannot be reached"):
        hands.voices(REQUEST)


# --- What the player asks for -------------------------------------------------------------------


def test_the_player_gets_state_sound_and_files(tts: FireRedTTS2, tmp_path: Path) -> None:
    with (
        api_server(tts, tmp_path) as address,
        studio_server(address, tmp_path / "works") as (studio, desk),
        httpx.Client(base_url=studio) as http,
    ):
        token = make(Hands(desk, address, ENGLISH), title="My show")
        at = f"{studio}/works/{token}"
        told = http.get(f"{at}/state").json()
        assert [turn["text"] for turn in told["turns"]] == ["One.", "Two."]
        assert told["order"] == [turn["id"] for turn in told["turns"]]
        assert (told["state"], told["num_made"]) == ("idle", 2)
        sound = http.get(f"{at}/sounds/{told['turns'][0]['sound']}")
        assert len(sound.content) == 2 * FRAMES * OUTPUT_SAMPLES_PER_FRAME
        assert "immutable" in sound.headers["cache-control"]

        began = time.monotonic()
        same = http.get(f"{at}/state?revision={told['revision']}&wait_s=0.3").json()
        assert time.monotonic() - began > 0.2
        assert same["turns"] == []

        mix = http.get(f"{at}/files/mix.wav")
        assert "My%20show.wav" in mix.headers["content-disposition"]
        (tmp_path / "mix.wav").write_bytes(mix.content)
        assert soundfile.info(tmp_path / "mix.wav").frames == 2 * FRAMES * OUTPUT_SAMPLES_PER_FRAME

        for path in ("sounds/none", "sounds/..%2Fwork.json", "files/work.json", "files/mix.exe"):
            assert http.get(f"{at}/{path}").status_code == 404, path
        assert http.get(f"{studio}/works/{'a' * 24}/state").status_code == 404
        assert http.get(f"{at}/state?wait_s=1e9").status_code == 422


def test_the_player_hears_a_turn_that_is_being_spoken(
    tts: FireRedTTS2, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on = threading.Event()
    write = GrowingSound.write

    def held(self: GrowingSound, data: bytes) -> None:
        write(self, data)
        assert goes_on.wait(20)

    monkeypatch.setattr(GrowingSound, "write", held)
    with (
        api_server(tts, tmp_path) as address,
        studio_server(address, tmp_path / "works") as (studio, desk),
        httpx.Client(timeout=20) as http,
    ):
        token, _ = Hands(desk, address, ENGLISH).make("", form(), REQUEST)
        made = desk.get(token)
        until(lambda: made.growing() is not None and made.growing().num_samples > 0)
        told = http.get(f"{studio}/works/{token}/state").json()
        turn = next(turn for turn in told["turns"] if turn["is_growing"])
        assert (told["state"], told["turn_id"]) == ("making", turn["id"])
        with http.stream("GET", f"{studio}/works/{token}/sounds/{turn['sound']}") as response:
            pieces = response.iter_bytes()
            heard = next(pieces)  # while the rest is not there yet
            goes_on.set()
            heard += b"".join(pieces)
        made.join(20)
        kept = http.get(f"{studio}/works/{token}/sounds/{turn['sound']}").content
    assert heard == kept


# --- The door -----------------------------------------------------------------------------------


def test_the_door_asks_for_a_key_and_lets_in_with_one(tts: FireRedTTS2, tmp_path: Path) -> None:
    with (
        api_server(tts, tmp_path, api_keys=KEYS) as address,
        studio_server(address, tmp_path / "works") as (studio, desk),
        httpx.Client() as http,
    ):
        asked = http.get(f"{studio}/", headers={"accept": "text/html"})
        assert asked.status_code == 401
        assert "API key" in asked.text
        assert "Write a conversation" not in asked.text
        token, _ = desk.new()
        for path in ("config", f"works/{token}/state", "gradio_api/queue/data", "enterx"):
            assert http.get(f"{studio}/{path}").status_code == 401, path
        assert http.post(f"{studio}/gradio_api/upload", files={"files": b"x"}).status_code == 401

        wrong = http.post(f"{studio}/enter", data={"key": "<script>not-a-key"})
        assert wrong.status_code == 401
        assert "does not know" in wrong.text
        assert COOKIE not in http.cookies
        right = http.post(f"{studio}/enter", data={"key": KEYS[0]})
        assert right.status_code == 303
        cookie = right.headers["set-cookie"]
        assert "HttpOnly" in cookie
        assert "SameSite=strict" in cookie
        assert KEYS[0] not in cookie
        assert "Write a conversation" in http.get(f"{studio}/").text
        assert http.get(f"{studio}/works/{token}/state").status_code == 200


def test_the_key_goes_with_what_is_asked(tts: FireRedTTS2, tmp_path: Path) -> None:
    with api_server(tts, tmp_path, api_keys=KEYS) as address:
        hands = Hands(Desk(tmp_path / "works"), address, ENGLISH)
        with pytest.raises(gr.Error, match="no valid API key"):
            hands.voices(REQUEST)
        mine = SimpleNamespace(client=None, cookies={COOKIE: KEYS[0].encode().hex()})
        assert hands.voices(mine)
        token, _ = hands.make("", form(), mine)
        hands.desk.get(token).join(30)
        assert hands.desk.get(token).progress().num_made == 2
