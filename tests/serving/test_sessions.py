"""Sessions: what was said stays from one request to the next, for its own client, for a while."""

import contextlib
import io
import json
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient

from fireredtts2 import FireRedTTS2
from fireredtts2.config import OUTPUT_RATE_HZ
from fireredtts2.serving.errors import ApiError
from fireredtts2.serving.keys import CLIENT, Client
from fireredtts2.serving.schemas import DialogueRequest
from fireredtts2.serving.session_dialogue import session_dialogue
from fireredtts2.serving.sessions import Session, SessionLimits, Sessions
from tests.serving.hosting import FRAMES, KEYS, app_of, client_of, model, say

pytest_plugins = ("tests.speaking",)


@pytest.fixture
def tts(voiced_checkpoint: Path) -> FireRedTTS2:
    return model(voiced_checkpoint)


@pytest.fixture
def client(tts: FireRedTTS2, tmp_path: Path) -> Iterator[TestClient]:
    with client_of(tts, tmp_path) as made:
        yield made


def opened(client: TestClient, **values) -> str:
    answer = client.post("/v1/sessions", json={"voices": {"S1": "af_heart"}, "seed": 3, **values})
    assert answer.status_code == 201, answer.text
    return answer.json()["id"]


def samples(answer) -> np.ndarray:
    assert answer.status_code == 200, answer.text
    return np.frombuffer(answer.content, "<i2") / 32_768


def test_requests_of_a_session_are_one_conversation(client: TestClient, tts: FireRedTTS2):
    session = opened(client)
    turns = [("Have you heard?", "af_heart"), ("No.", "am_michael"), ("Then listen.", "af_heart")]
    parts = [samples(say(client, input=t, voice=v, session_id=session)) for t, v in turns]
    exchange = tts.exchange({"S1": "af_heart"}, seed=3)
    expected = [chunk.audio for chunk in exchange.stream("Have you heard?")]
    exchange.add_voice(tts.studio.prompter.from_voice("S2", "am_michael"))
    expected += [chunk.audio for chunk in exchange.stream("No.", "S2")]
    expected += [chunk.audio for chunk in exchange.stream("Then listen.")]
    whole = np.concatenate([part.clamp(-1, 1).numpy() for part in expected])
    assert np.abs(np.concatenate(parts) - whole).max() < 1e-3
    about = client.get(f"/v1/sessions/{session}").json()
    assert about["voices"] == {"S1": "af_heart", "S2": "am_michael"}


def test_a_named_speaker_comes_before_the_voice(client: TestClient):
    session = opened(client)
    samples(say(client, session_id=session, speaker="S3", voice="am_michael"))
    assert client.get(f"/v1/sessions/{session}").json()["voices"]["S3"] == "am_michael"
    samples(say(client, session_id=session, speaker="S3", voice="af_heart"))  # it has a voice
    assert client.get(f"/v1/sessions/{session}").json()["voices"]["S3"] == "am_michael"


def test_a_session_can_be_ended(client: TestClient):
    session = opened(client)
    listed = client.get("/v1/sessions").json()["data"]
    assert [one["id"] for one in listed] == [session]
    assert client.delete(f"/v1/sessions/{session}").status_code == 204
    answer = say(client, session_id=session)
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "session_not_found"


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ({"voices": {"S9": "af_heart"}}, "unknown speaker"),
        ({"voices": {"S1": "nobody"}}, "known voices"),
        ({"voices": {f"S{n}": "af_heart" for n in range(1, 7)}}, "at most 4"),
        ({"temperature": -1}, "temperature"),
        ({"colour": "red"}, "colour"),
    ],
)
def test_bad_sessions_are_refused(client: TestClient, values: dict, shown: str):
    answer = client.post("/v1/sessions", json=values)
    assert answer.status_code == 400
    assert shown in answer.json()["error"]["message"]


def test_what_a_session_does_not_take(client: TestClient):
    session = opened(client)
    for values in ({"input": "One. [pause:1s] Two."}, {"ref_audio": "data:a", "ref_text": "b"}):
        answer = say(client, session_id=session, **values)
        assert answer.status_code == 400
        assert "in a session" in answer.json()["error"]["message"]


def test_another_keys_session_is_none(tts: FireRedTTS2, tmp_path: Path):
    with client_of(tts, tmp_path, key=KEYS[0], api_keys=KEYS) as client:
        session = opened(client)
        client.headers["authorization"] = f"Bearer {KEYS[1]}"
        assert say(client, session_id=session).status_code == 404
        assert client.get("/v1/sessions").json()["data"] == []


# --- Dialogues in a session ----------------------------------------------------------------------


def talk(client: TestClient, session: str, **values):
    body = {"session_id": session, "response_format": "pcm", **values}
    return client.post("/v1/audio/dialogue", json=body)


def test_a_dialogue_goes_on_with_the_session_and_stays_in_it(client: TestClient, tts: FireRedTTS2):
    session = opened(client)
    parts = [samples(say(client, input="Have you heard?", session_id=session))]
    script = "Ann: Then listen.\n[pause:0.25s]\nBen: I do."
    parts.append(samples(talk(client, session, script=script, voices={"Ben": "am_michael"})))
    parts.append(samples(say(client, input="Good.", voice="am_michael", session_id=session)))
    alone = tts.exchange({"S1": "af_heart"}, seed=3)
    expected = [chunk.audio for chunk in alone.stream("Have you heard?")]
    alone.add_voice(tts.studio.prompter.from_voice("S2", "am_michael"))
    expected += [chunk.audio for chunk in alone.stream("Then listen.")]
    expected.append(torch.zeros(OUTPUT_RATE_HZ // 4))
    expected += [chunk.audio for chunk in alone.stream("I do.", "S2")]
    expected += [chunk.audio for chunk in alone.stream("Good.", "S2")]
    whole = torch.cat(expected).clamp(-1, 1).numpy()
    assert np.abs(np.concatenate(parts) - whole).max() < 1e-3
    about = client.get(f"/v1/sessions/{session}").json()
    assert about["voices"] == {"S1": "af_heart", "S2": "am_michael"}
    assert about["rows"] == alone.num_rows


def test_names_of_a_script_keep_their_speakers(client: TestClient):
    session = opened(client, voices={"S1": "af_heart", "S2": "am_michael"})
    for script, voices, expected in (
        ("Ben: Hi.", {"Ben": "am_michael"}, ["S2"]),  # by his voice
        ("Ann: Hi.\nBen: Yes?", {}, ["S1", "S2"]),  # whose name came later
        ("Cara: And I?\nBen: You too.\n[S4] Me?", {"Cara": "af_heart"}, ["S3", "S2", "S4"]),
    ):
        answer = talk(client, session, script=script, voices=voices, stream_format="sse")
        events = [json.loads(line[6:]) for line in answer.text.splitlines() if line]
        begun = [one["speaker"] for one in events if one["type"] == "speech.turn.started"]
        assert begun == expected
        assert events[-1]["type"] == "speech.audio.done"
    answer = talk(client, session, script="Dan: Hi.\nEve: Hi.")
    assert answer.status_code == 400
    assert "no speaker is left" in answer.json()["error"]["message"]


def test_marks_and_files_of_a_dialogue_in_a_session(client: TestClient):
    session = opened(client)
    turns = [{"speaker": "S1", "text": "One."}, {"speaker": "S2", "text": "Two.", "pause_s": 0.5}]
    answer = talk(client, session, turns=turns, stream_format="sse")
    events = [json.loads(line[6:]) for line in answer.text.splitlines() if line]
    done = [event for event in events if event["type"] == "speech.turn.done"]
    assert [(one["turn"], one["speaker"]) for one in done] == [(0, "S1"), (1, "S2")]
    assert done[1]["start_s"] == pytest.approx(done[0]["end_s"] + 0.5, abs=1e-4)
    answer = talk(client, session, turns=turns, **{"return": ["turns", "stems"]})
    assert answer.status_code == 200, answer.text
    files = zipfile.ZipFile(io.BytesIO(answer.content))
    assert sorted(files.namelist()) == ["stem_S1.wav", "stem_S2.wav", "turns.json"]
    told = json.loads(files.read("turns.json"))["turns"]
    assert [turn["text"] for turn in told] == ["One.", "Two."]
    assert told[1]["end_s"] - told[1]["start_s"] == pytest.approx(FRAMES * 0.08)


@pytest.mark.parametrize(
    ("values", "shown"),
    [
        ({"hold_turns": True, "script": "[S1] Hi."}, "hold_turns"),
        ({"script": "[S1] Hi.", "turns": [{"speaker": "S1", "text": "Hi."}]}, "either"),
        ({"script": "[S1] Hi.\n[S1] !!!"}, "nothing to say"),
        ({"script": "[S1] Hi.", "voices": {"S1": "nobody"}}, "known voices"),
    ],
)
def test_bad_dialogues_leave_the_session_as_it_was(client: TestClient, values: dict, shown: str):
    session = opened(client)
    before = client.get(f"/v1/sessions/{session}").json()
    answer = talk(client, session, **values)
    assert answer.status_code == 400
    assert shown in answer.json()["error"]["message"]
    assert client.get(f"/v1/sessions/{session}").json() == before


def test_no_such_session_for_a_dialogue(client: TestClient):
    answer = talk(client, "nothing", script="[S1] Hi.")
    assert answer.status_code == 404
    assert answer.json()["error"]["code"] == "session_not_found"


@contextlib.contextmanager
def in_its_pause(tts: FireRedTTS2, folder: Path) -> Iterator[tuple[TestClient, Session, Iterator]]:
    """A dialogue of two turns, read as far as the pause between them."""
    app = app_of(tts, folder)
    with TestClient(app) as client:
        id = opened(client)
        session = app.state.server.sessions.find("testclient")[0]
        token = CLIENT.set(Client("testclient"))
        try:
            script = "[S1] One.\n[pause:0.1s]\n[S1] Two."
            asked = DialogueRequest(session_id=id, script=script)
            chunks = session_dialogue(app.state.server, asked)[1]()
        finally:
            CLIENT.reset(token)
        while next(chunks).turn_index == 0:
            pass
        assert not session.exchange.is_busy
        yield client, session, chunks
        assert not session.is_busy


def test_a_dialogue_has_its_session_alone(tts: FireRedTTS2, tmp_path: Path):
    with in_its_pause(tts, tmp_path) as (client, session, chunks):
        for answer in (
            say(client, session_id=session.id),
            talk(client, session.id, script="[S1] Three."),
        ):
            assert answer.status_code == 409
            assert answer.json()["error"]["code"] == "session_busy"
        assert client.get(f"/v1/sessions/{session.id}").json()["busy"]
        chunks.close()
        assert say(client, session_id=session.id).status_code == 200


def test_a_dialogue_waits_for_who_came_in_between_its_turns(tts: FireRedTTS2, tmp_path: Path):
    with in_its_pause(tts, tmp_path) as (_, session, chunks):
        live = session.exchange.stream("I was first.")  # as an open WebSocket does
        next(live)
        ends = threading.Timer(0.2, live.close)
        ends.start()
        rest = list(chunks)
        ends.join()
        assert rest[-1].is_turn_end


# --- How many, and how long ----------------------------------------------------------------------


class FakeExchange:
    is_busy = False
    num_rows = 0


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def added(sessions: Sessions, owner: str = "anna") -> Session:
    return sessions.add(owner, FakeExchange(), {})  # type: ignore[arg-type]


def code_of(sessions: Sessions, id: str, owner: str = "anna") -> tuple[int, str | None]:
    with pytest.raises(ApiError) as refused:
        sessions.get(owner, id)
    return refused.value.status, refused.value.code


def test_an_unused_session_expires_and_a_used_one_does_not():
    clock = Clock()
    sessions = Sessions(SessionLimits(ttl_s=10), clock)
    unused, used = added(sessions), added(sessions)
    clock.now = 6
    sessions.get("anna", used.id)
    clock.now = 12
    assert code_of(sessions, unused.id) == (410, "session_expired")
    assert code_of(sessions, unused.id, "bert") == (404, "session_not_found")
    assert sessions.get("anna", used.id) is used


def test_the_longest_unused_goes_for_a_new_one():
    sessions = Sessions(SessionLimits(max_sessions=2))
    first, second = added(sessions), added(sessions)
    sessions.get("anna", first.id)
    third = added(sessions)
    assert len(sessions) == 2
    assert code_of(sessions, second.id) == (410, "session_expired")
    assert {one.id for one in sessions.find("anna")} == {first.id, third.id}


def test_a_session_that_is_spoken_stays():
    clock = Clock()
    sessions = Sessions(SessionLimits(max_sessions=1, ttl_s=10), clock)
    session = added(sessions)
    session.exchange.is_busy = True  # type: ignore[misc]
    with pytest.raises(ApiError, match="all sessions are being spoken"):
        added(sessions)
    clock.now = 60
    assert sessions.get("anna", session.id) is session


@pytest.mark.parametrize("values", [{"max_sessions": 0}, {"ttl_s": 0}, {"ttl_s": float("nan")}])
def test_bad_limits(values: dict):
    with pytest.raises(ValueError, match="above 0"):
        SessionLimits(**values)
