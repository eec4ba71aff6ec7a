"""Conversations: pauses, turn marks in the stream, and whole ones in a ZIP."""

import base64
import io
import json
import zipfile
from pathlib import Path

import numpy as np
import pytest
import soundfile
from fastapi.testclient import TestClient

from fireredtts2 import FireRedTTS2
from fireredtts2.config import OUTPUT_RATE_HZ
from tests.serving.test_api import FRAMES, SECONDS, client, tts  # noqa: F401 - fixtures
from tests.tiny import script_turns

pytest_plugins = ("tests.speaking",)
VOICES = {"Anna": "af_heart", "Ben": "am_michael"}
SCRIPT = "Anna: Are you there?\n[pause:0.5s]\nBen: I am. [pause:500ms] Really."
STARTS = [0.0, SECONDS + 0.5, 2 * SECONDS + 1.0]


def ask(client: TestClient, **values):  # noqa: F811
    body = {"script": SCRIPT, "voices": VOICES, "seed": 1, "response_format": "pcm", **values}
    return client.post("/v1/audio/dialogue", json=body)


def test_pauses_are_the_same_in_scripts_and_turns(client: TestClient):  # noqa: F811
    heard = ask(client).content
    assert len(heard) / 2 / OUTPUT_RATE_HZ == pytest.approx(3 * SECONDS + 1.0, abs=0.01)
    turns = [
        {"speaker": "Anna", "text": "Are you there?"},
        {"speaker": "Ben", "text": "[pause:500ms] I am. [pause:0.5s] Really."},
    ]
    assert ask(client, script=None, turns=turns).content == heard


def test_pauses_in_a_text_of_one_voice(client: TestClient):  # noqa: F811
    body = {"input": "One. [pause:500ms] Two.", "voice": "af_heart", "response_format": "pcm"}
    answer = client.post("/v1/audio/speech", json=body)
    seconds = len(answer.content) / 2 / OUTPUT_RATE_HZ
    assert seconds == pytest.approx(2 * SECONDS + 0.5, abs=0.01)


@pytest.mark.parametrize(
    "pause", ["[pause]", "[pause:]", "[pause:soon]", "[pause:-1s]", "[pause:99s]"]
)
def test_a_pause_that_is_not_right_is_said(client: TestClient, pause: str):  # noqa: F811
    for answer in (
        ask(client, script=f"[S1] Hi {pause} there.", voices={}),
        ask(client, script=None, turns=[{"speaker": "S1", "text": f"Hi {pause} you."}], voices={}),
        client.post("/v1/audio/speech", json={"input": f"Hi {pause} you."}),
    ):
        assert answer.status_code == 400
        assert "pause" in answer.json()["error"]["message"]


@pytest.mark.parametrize("speed", [1.0, 2.0])
def test_turns_are_marked_beside_the_audio(client: TestClient, speed: float):  # noqa: F811
    answer = ask(client, stream_format="sse", speed=speed)
    events = [json.loads(line[6:]) for line in answer.text.splitlines() if line]
    marks = [event for event in events if event["type"].startswith("speech.turn")]
    kinds = [mark["type"].rpartition(".")[2] for mark in marks]
    assert kinds == ["started", "done"] * 3
    assert [mark["speaker"] for mark in marks] == ["S1", "S1", "S2", "S2", "S2", "S2"]
    assert [mark["text"] for mark in marks[::2]] == ["Are you there?", "I am.", "Really."]
    for mark, start in zip(marks[::2], STARTS, strict=True):
        assert mark["start_s"] == pytest.approx(start / speed, abs=0.001)
    for mark, start in zip(marks[1::2], STARTS, strict=True):
        assert mark["end_s"] == pytest.approx((start + SECONDS) / speed, abs=0.001)
    if speed == 1.0:
        sounds = [base64.b64decode(event.get("audio", "")) for event in events]
        assert b"".join(sounds) == ask(client).content
    assert events[-1]["type"] == "speech.audio.done"


def test_a_whole_one_is_a_zip(client: TestClient):  # noqa: F811
    parts = ["audio", "subtitles", "stems", "turns"]
    answer = ask(client, response_format="wav", **{"return": parts})
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/zip"
    # Nobody hears how it is made.
    assert "fireredtts2_gap_seconds_count 0.0" in client.get("/metrics").text
    files = zipfile.ZipFile(io.BytesIO(answer.content))
    assert sorted(files.namelist()) == sorted([
        "audio.wav", "stem_S1.wav", "stem_S2.wav", "subtitles.srt", "subtitles.vtt", "turns.json",
    ])  # fmt: skip
    read = {
        name: soundfile.read(io.BytesIO(files.read(name)), dtype="int16")[0]
        for name in files.namelist()
        if name.endswith("wav")
    }
    assert np.array_equal(read["stem_S1.wav"] + read["stem_S2.wav"], read["audio.wav"])
    assert "<v Ben>" in files.read("subtitles.vtt").decode()
    turns = json.loads(files.read("turns.json"))["turns"]
    assert [turn["start_s"] for turn in turns] == pytest.approx(STARTS, abs=0.001)
    only = ask(client, **{"return": ["turns"]})
    assert zipfile.ZipFile(io.BytesIO(only.content)).namelist() == ["turns.json"]


@pytest.mark.parametrize(
    "values", [{"return": []}, {"return": ["video"]}, {"return": ["audio"], "speed": 2.0}]
)
def test_what_cannot_be_returned(client: TestClient, values: dict):  # noqa: F811
    assert ask(client, **values).status_code == 400


def test_a_runaway_is_not_heard_where_turns_are_held(
    client: TestClient,  # noqa: F811
    tts: FireRedTTS2,  # noqa: F811
    tmp_path: Path,
):
    turns = [{"speaker": "S1", "text": "Hello there."}]
    lengths = {}
    for holds in (True, False):
        script_turns(tts.studio.engine, None, FRAMES)
        answer = ask(client, script=None, turns=turns, voices={}, hold_turns=holds)
        lengths[holds] = len(answer.content) / 2 / OUTPUT_RATE_HZ
    assert lengths[True] == pytest.approx(SECONDS, abs=0.01)
    assert lengths[False] > SECONDS + 1
