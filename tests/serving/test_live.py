"""A live connection: text is spoken while it is written, and can be broken off."""

import base64
import contextlib
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import anyio
import numpy as np
import pytest

from fireredtts2 import FireRedTTS2
from fireredtts2.config import OUTPUT_RATE_HZ
from fireredtts2.narration.lead import Lead
from fireredtts2.proofing.listener import Listener
from fireredtts2.serving.live.context import LiveContext
from fireredtts2.serving.live.limits import LiveLimits
from fireredtts2.serving.live.voice_track import VoiceTrack
from tests.serving.hosting import FRAMES, KEYS, app_of, model, serving, until
from tests.tiny import write_listener

connect = pytest.importorskip("websockets.sync.client").connect
closed = pytest.importorskip("websockets.exceptions").ConnectionClosed
pytest_plugins = ("tests.speaking",)
PATIENCE_S = 20
PIECE_S = FRAMES * 0.08


class Client:
    """The other end: keeps events and sound apart."""

    def __init__(self, socket) -> None:
        self.socket = socket
        self.events: list[dict[str, Any]] = []
        self.sound: dict[str, bytes] = {}

    def send(self, type: str, **values) -> None:
        self.socket.send(json.dumps({"type": type, **values}))

    def next(self) -> dict[str, Any]:
        """The next event; sound before it is kept."""
        while True:
            event = self._take(self.socket.recv(timeout=PATIENCE_S))
            if event is not None:
                return event

    def until(self, type: str, **values) -> dict[str, Any]:
        while True:
            event = self.next()
            if event["type"] == type and all(event.get(k) == v for k, v in values.items()):
                return event

    def hear(self, seconds: float) -> None:
        """Waits for so much sound."""
        while len(self.samples()) < seconds * OUTPUT_RATE_HZ:
            self._take(self.socket.recv(timeout=PATIENCE_S))

    def _take(self, message: str | bytes) -> dict[str, Any] | None:
        if isinstance(message, str):
            self.events.append(json.loads(message))
            return self.events[-1]
        name = message[1 : 1 + message[0]].decode()
        self.sound[name] = self.sound.get(name, b"") + message[1 + message[0] :]
        return None

    def samples(self, context_id: str = "") -> np.ndarray:
        return np.frombuffer(self.sound.get(context_id, b""), "<i2") / 32_768


@pytest.fixture
def tts(voiced_checkpoint: Path) -> FireRedTTS2:
    return model(voiced_checkpoint)


@contextlib.contextmanager
def talking(tts: FireRedTTS2, folder: Path, path="/v1/audio/speech/stream", **more):
    headers = more.pop("headers", None)
    protocols = more.pop("subprotocols", None)
    with (
        serving(app_of(tts, folder, **more)) as (host, port),
        connect(
            f"ws://{host}:{port}{path}", additional_headers=headers, subprotocols=protocols
        ) as socket,
    ):
        yield Client(socket)


@pytest.fixture
def client(tts: FireRedTTS2, tmp_path: Path) -> Iterator[Client]:
    with talking(tts, tmp_path) as made:
        assert made.next()["type"] == "session.created"
        yield made


def test_text_is_spoken_while_it_is_written(client: Client, tts: FireRedTTS2):
    client.send("session.config", voice="af_heart", seed=3)
    assert client.until("context.created")["voices"] == {"S1": "af_heart"}
    for word in ["Good", "evening", "to", "you", "all.", "And", "what"]:
        client.send("input.text", text=word + " ")
    spoken = client.until("text.spoken")  # though the turn has not ended
    assert spoken["text"] == "Good evening to you all."
    assert (spoken["start_s"], spoken["end_s"]) == (0, pytest.approx(PIECE_S))
    client.send("input.text", text="now?")
    client.send("input.done")
    assert client.until("turn.done")["seconds"] == pytest.approx(2 * PIECE_S)
    exchange = tts.exchange({"S1": "af_heart"}, seed=3)
    texts = ["Good evening to you all.", " And what now?"]
    expected = np.concatenate(
        [c.audio.clamp(-1, 1).numpy() for text in texts for c in exchange.stream(text)]
    )
    assert np.abs(client.samples() - expected).max() < 1e-3


def test_the_next_turn_follows_what_was_said(client: Client, tts: FireRedTTS2):
    runner = tts.studio.engine.model_runner
    client.send("input.text", text="The first turn of this talk.")
    client.send("input.done")
    client.until("turn.done")
    before = runner.num_prefilled_rows
    client.send("input.text", text="And more.", speaker="S2")
    client.send("input.done")
    assert client.until("turn.done")["speaker"] == "S2"
    assert runner.num_prefilled_rows - before < 30


def test_a_cancelled_turn_stops_and_only_what_was_heard_stays(client: Client, tts: FireRedTTS2):
    script_turns_of(tts, None)
    client.send("session.config", voice="af_heart", session_id=None)
    client.send("input.text", text="One two three four five six seven eight nine ten.")
    client.send("input.done")
    client.until("turn.started")
    client.hear(0.5)
    client.send("cancel", played_s=0.4)
    cancelled = client.until("cancelled")
    assert cancelled["heard_s"] == pytest.approx(0.4)
    assert "One two three four five six seven eight nine ten.".startswith(cancelled["text"])
    assert 0 < len(cancelled["text"]) < 48
    until(lambda: not tts.studio.engine.scheduler.live)
    length = len(client.samples())
    client.send("input.text", text="Go on.")
    client.send("input.done")
    assert client.until("turn.done")["seconds"] == pytest.approx(PIECE_S)
    assert len(client.samples()) == length + round(PIECE_S * OUTPUT_RATE_HZ)


def test_turns_are_heard_one_after_the_other(client: Client, monkeypatch: pytest.MonkeyPatch):
    """While one is heard, there is time for the next; not after it was broken off."""
    leads = []
    monkeypatch.setattr(Lead, "gave", lambda lead, num_samples: leads.append(lead))
    for speaker in ("S1", "S2"):
        client.send("input.text", text="A whole turn.", speaker=speaker)
        client.send("input.done")
        client.until("turn.done")
    client.send("cancel")
    client.until("cancelled")
    before = list(dict.fromkeys(map(id, leads)))
    client.send("input.text", text="Another turn.")
    client.send("input.done")
    client.until("turn.done")
    assert len(before) == 1
    assert len(set(map(id, leads))) == 2


def test_what_is_held_is_given_up_at_once(
    voiced_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """While a sentence is heard the next is made, as long as that lasts; nobody waits for it."""
    folder = write_listener(shutil.copytree(voiced_checkpoint, tmp_path / "listening"))
    tts = model(folder)
    monkeypatch.setattr(Lead, "spare_s", lambda lead: 60.0)
    monkeypatch.setattr(Listener, "clearness", lambda *_: 0.0)
    monkeypatch.setattr(Listener, "is_clear", -1.0, raising=False)
    script_turns_of(tts, FRAMES, None)
    with talking(tts, tmp_path) as client:
        client.send("session.config", voice="af_heart")
        client.send("input.text", text="This is heard. This is held for as long as it takes.")
        client.send("input.done")
        client.until("text.spoken")
        until(lambda: tts.studio.engine.scheduler.live)
        client.send("cancel")
        cancelled = client.until("cancelled")
        assert cancelled["heard_s"] == pytest.approx(PIECE_S)
        assert cancelled["text"] == "This is heard."
        until(lambda: not tts.studio.engine.scheduler.live)
        client.send("input.text", text="Go on.")
        client.send("input.done")
        assert client.until("turn.done")["seconds"] == pytest.approx(PIECE_S)


def script_turns_of(tts: FireRedTTS2, *lengths: int | None) -> None:
    """The next turns have these lengths, and all others the usual one."""
    runner = tts.studio.engine.model_runner
    runner.lengths.clear()
    runner.lengths.extend([*lengths, *[FRAMES] * 100])


def test_cancelling_where_nothing_is_spoken(client: Client):
    client.send("session.config")
    client.until("context.created")
    client.send("cancel")
    assert client.until("cancelled")["heard_s"] == 0


def test_two_contexts_speak_side_by_side(client: Client):
    for name in ("a", "b"):
        client.send("session.config", context_id=name, voice="af_heart", seed=3)
        client.send("input.text", context_id=name, text="The same words.")
        client.send("input.done", context_id=name)
    for _ in range(2):
        client.until("turn.done")
    assert np.abs(client.samples("a") - client.samples("b")).max() < 1e-3
    assert len(client.samples("a")) == round(PIECE_S * OUTPUT_RATE_HZ)
    client.send("context.close", context_id="a")
    assert client.until("context.closed")["context_id"] == "a"


def test_sound_in_json(client: Client):
    client.send("session.config", audio="base64", format="mp3")
    client.send("input.text", text="Hello there.")
    client.send("input.done")
    client.until("turn.done")
    parts = [base64.b64decode(e["audio"]) for e in client.events if e["type"] == "audio"]
    from fireredtts2.audio import read_audio

    audio = read_audio(b"".join(parts), OUTPUT_RATE_HZ)
    assert audio.shape[0] / OUTPUT_RATE_HZ == pytest.approx(PIECE_S, abs=0.1)


def test_a_writer_who_pauses_is_spoken_as_far_as_he_came(tts: FireRedTTS2, tmp_path: Path):
    with talking(tts, tmp_path, live=LiveLimits(pause_s=0.1)) as client:
        client.send("input.text", text="Let me think about th")
        assert client.until("text.spoken")["text"].strip() == "Let me think about"


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ("not json", "bad_message"),
        ('{"type": "dance"}', "bad_message"),
        ('{"type": "input.text"}', "bad_message"),
        ('{"type": "input.text", "text": 7}', "bad_message"),
        ('{"type": "input.text", "text": "x", "speaker": "S9"}', "bad_message"),
        ('{"type": "cancel", "context_id": "nobody"}', "context_not_found"),
        ('{"type": "session.config", "voice": "nobody"}', "voice_not_found"),
        ('{"type": "session.config", "session_id": "nothing"}', "session_not_found"),
        ('{"type": "cancel", "played_s": NaN}', "bad_message"),
        ("[" * 5_000, "bad_message"),
    ],
)
def test_a_bad_message_is_answered_and_others_go_on(client: Client, message: str, code: str):
    client.socket.send(message)
    assert client.until("error")["error"]["code"] == code
    client.send("input.text", text="Still here.")
    client.send("input.done")
    client.until("turn.done")


def test_too_many_bad_messages_end_it(tts: FireRedTTS2, tmp_path: Path):
    with talking(tts, tmp_path, live=LiveLimits(max_errors=3)) as client:
        for _ in range(4):
            client.socket.send("?")
        assert client.until("session.closed")["reason"] == "too many bad messages"
        with pytest.raises(closed):
            client.next()


def test_limits_of_a_connection(tts: FireRedTTS2, tmp_path: Path):
    limits = LiveLimits(max_contexts=1, max_pending_characters=100, max_message_characters=300)
    with talking(tts, tmp_path, live=limits) as client:
        client.send("session.config", context_id="a")
        client.until("context.created")
        client.send("session.config", context_id="b")
        assert client.until("error")["error"]["code"] == "too_many_contexts"
        client.send("session.config", context_id="a")
        assert client.until("error")["error"]["code"] == "context_exists"
        client.send("input.text", context_id="a", text="x" * 101)
        assert client.until("error")["error"]["code"] == "too_much_pending"
        client.socket.send("x" * 301)
        assert "301 characters" in client.until("error")["error"]["message"]


def test_an_idle_connection_is_closed(tts: FireRedTTS2, tmp_path: Path):
    with talking(tts, tmp_path, live=LiveLimits(idle_timeout_s=1)) as client:
        assert "too long" in client.until("session.closed")["reason"]


def test_a_client_that_goes_frees_its_slot(tts: FireRedTTS2, tmp_path: Path):
    script_turns_of(tts, None)
    with talking(tts, tmp_path) as client:
        client.send("input.text", text="One that does not end by itself.")
        client.send("input.done")
        client.until("turn.started")
        until(lambda: bool(tts.studio.engine.scheduler.live))
        client.socket.close()
        until(lambda: not tts.studio.engine.scheduler.live)


class Stopped:
    """A client who takes nothing."""

    def __init__(self) -> None:
        self.num_sounds = 0

    async def event(self, _event: dict[str, Any]) -> None:
        pass

    async def sound(self, _data: bytes) -> None:
        self.num_sounds += 1
        await anyio.sleep_forever()


def test_for_who_takes_nothing_nothing_more_is_made(tts: FireRedTTS2, tmp_path: Path):
    script_turns_of(tts, None)
    server, outlet = app_of(tts, tmp_path).state.server, Stopped()
    exchange = tts.exchange({"S1": "af_heart"}, on_runaway="cut")
    context = LiveContext(server, exchange, outlet, lambda: VoiceTrack("pcm"), LiveLimits())

    async def listen() -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(context.run)
            context.text("One that goes on for long.")
            context.done()
            await anyio.sleep(0.7)
            assert outlet.num_sounds == 1
            [slot] = tts.studio.engine.scheduler.live
            assert len(slot.job.frames) <= 4
            tasks.cancel_scope.cancel()

    anyio.run(listen)
    assert tts.studio.engine.scheduler.live == []


def test_a_key_is_needed_where_there_are_some(tts: FireRedTTS2, tmp_path: Path):
    with pytest.raises(Exception, match="401"), talking(tts, tmp_path, api_keys=KEYS):
        pass
    headers = {"Authorization": f"Bearer {KEYS[0]}"}
    with talking(tts, tmp_path, api_keys=KEYS, headers=headers) as client:
        assert client.next()["type"] == "session.created"
    browser = ["fireredtts2", f"fireredtts2.{KEYS[0]}"]
    with talking(tts, tmp_path, api_keys=KEYS, subprotocols=browser) as client:
        assert client.socket.subprotocol == "fireredtts2"
        assert client.next()["type"] == "session.created"


# --- ElevenLabs' protocol -------------------------------------------------------------------------


@pytest.mark.parametrize("rate_hz", [16_000, 24_000])
def test_stream_input(tts: FireRedTTS2, tmp_path: Path, rate_hz: int):
    path = f"/v1/text-to-speech/af_heart/stream-input?output_format=pcm_{rate_hz}"
    with talking(tts, tmp_path, path=path) as client:
        for message in (
            {"text": " ", "voice_settings": {"stability": 0.5}, "xi_api_key": "unused"},
            {"text": "Hello there. ", "try_trigger_generation": True},
            {"text": "How are you?"},
            {"text": ""},
        ):
            client.socket.send(json.dumps(message))
        sound = b""
        while True:
            answer = json.loads(client.socket.recv(timeout=PATIENCE_S))
            if answer["isFinal"]:
                break
            sound += base64.b64decode(answer["audio"])
        assert len(sound) / 2 / rate_hz == pytest.approx(2 * PIECE_S, abs=0.01)
        with pytest.raises(closed):
            client.socket.recv(timeout=PATIENCE_S)


@pytest.mark.parametrize(
    ("path", "message", "shown"),
    [
        ("nobody/stream-input", {"text": "Hi."}, "no voice"),
        ("af_heart/stream-input?output_format=ulaw_8000", {"text": "Hi."}, "output_format"),
        ("af_heart/stream-input", {"words": "Hi."}, 'JSON with a "text"'),
    ],
)
def test_stream_input_says_what_is_wrong(
    tts: FireRedTTS2, tmp_path: Path, path: str, message: dict, shown: str
):
    with talking(tts, tmp_path, path=f"/v1/text-to-speech/{path}") as client:
        with contextlib.suppress(closed):  # it may have been refused before
            client.socket.send(json.dumps(message))
        answer = json.loads(client.socket.recv(timeout=PATIENCE_S))
        assert shown in answer["message"]
        with pytest.raises(closed):
            client.socket.recv(timeout=PATIENCE_S)
