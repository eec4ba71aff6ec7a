"""Keys: who may ask, whose voices are whose, and that no key is ever told."""

import json
import logging
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from fireredtts2 import FireRedTTS2
from fireredtts2.serving.config import ServingConfig
from fireredtts2.serving.keys import KeyRing, hash_of
from fireredtts2.serving.secrets_filter import HidingFormatter, hide
from tests.serving.hosting import KEYS, client_of, model, say, upload

pytest_plugins = ("tests.speaking",)


@pytest.fixture
def tts(voiced_checkpoint: Path) -> FireRedTTS2:
    return model(voiced_checkpoint)


def names(client: TestClient, key: str) -> list[str]:
    answer = client.get("/v1/voices", headers={"authorization": f"Bearer {key}"})
    return [voice["name"] for voice in answer.json()["data"]]


def test_voices_belong_to_the_key_that_made_them(tts: FireRedTTS2, tmp_path: Path):
    with client_of(tts, tmp_path, KEYS[0], api_keys=KEYS) as client:
        assert upload(client, "anna").status_code == 201
        assert names(client, KEYS[0]) == ["af_heart", "am_michael", "anna"]
        assert names(client, KEYS[1]) == ["af_heart", "am_michael"]
        assert say(client, voice="anna").status_code == 200
        other = {"authorization": f"Bearer {KEYS[1]}"}
        for method, path in (("GET", ""), ("GET", "/audio"), ("DELETE", "")):
            answer = client.request(method, f"/v1/voices/anna{path}", headers=other)
            assert answer.status_code == 404
        body = {"input": "Hi.", "voice": "anna"}
        refused = client.post("/v1/audio/speech", json=body, headers=other)
        assert refused.status_code == 400
        assert "anna" not in refused.json()["error"]["message"].split("known voices")[1]
        folder = tmp_path / "voices" / "keys" / hash_of(KEYS[0])
        assert [path.name for path in folder.iterdir()] == ["anna.safetensors"]
        assert client.delete("/v1/voices/anna").status_code == 204


def test_two_keys_may_use_one_name(tts: FireRedTTS2, tmp_path: Path):
    with client_of(tts, tmp_path, KEYS[0], api_keys=KEYS) as client:
        assert upload(client, "anna").status_code == 201
        client.headers["authorization"] = f"Bearer {KEYS[1]}"
        assert upload(client, "anna").status_code == 201
        client.headers["authorization"] = f"Bearer {KEYS[0]}"
        assert client.delete("/v1/voices/anna").status_code == 204
        assert "anna" in names(client, KEYS[1])


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer "},
        {"authorization": f"Basic {KEYS[0]}"},
        {"authorization": f"Bearer {KEYS[0]}x"},
        {"authorization": KEYS[0]},
        {"authorization": b"Bearer \xff\xfe"},
        {"xi-api-key": "no"},
    ],
)
def test_without_a_valid_key_nothing_is_read(tts: FireRedTTS2, tmp_path: Path, headers: dict):
    with client_of(tts, tmp_path, api_keys=KEYS) as client:
        answer = client.post("/v1/audio/speech", content=b"{", headers=headers)
        assert answer.status_code == 401, "before the body is looked at"
        assert answer.json()["error"]["code"] == "invalid_api_key"
        assert client.get("/v1/nowhere", headers=headers).status_code == 401
        assert client.get("/health").status_code == 200
        assert 'refusals_total{code="invalid_api_key"} 2.0' in client.get("/metrics").text


def test_a_key_may_come_as_elevenlabs_clients_send_it(tts: FireRedTTS2, tmp_path: Path):
    with client_of(tts, tmp_path, api_keys=KEYS) as client:
        assert client.get("/v1/voices", headers={"xi-api-key": KEYS[1]}).status_code == 200


def test_keys_of_a_file_have_limits_of_their_own(tts: FireRedTTS2, tmp_path: Path):
    path = tmp_path / "keys.json"
    entries = [{"key": KEYS[0], "name": "anna", "requests_per_minute": 2}, {"key": KEYS[1]}]
    path.write_text(json.dumps(entries))
    with client_of(tts, tmp_path, KEYS[0], keys_path=path) as client:
        statuses = [client.get("/v1/voices").status_code for _ in range(3)]
        assert statuses == [200, 200, 429]
        assert names(client, KEYS[1]), "the other has its own"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "not JSON"),
        ("[]", "no key"),
        ('{"key": "the-secret-key"}', "must be a list"),
        ('[{"key": "short"}]', "key 1 of fewer"),
        ('[{"key": 7}]', "key 1 of fewer"),
        ('[{"key": "the-secret kéy"}]', "no HTTP header"),
        ('[{"key": "the-secret-key", "colour": 1}]', "colour"),
        ('[{"key": "the-secret-key", "requests_per_minute": 0}]', "requests_per_minute 0"),
        ('[{"key": "the-secret-key", "requests_per_minute": true}]', "requests_per_minute"),
        ('[{"key": "the-secret-key"}, {"key": "the-secret-key"}]', "twice"),
    ],
)
def test_a_file_that_is_wrong_is_refused_without_showing_keys(
    tmp_path: Path, text: str, message: str
):
    path = tmp_path / "keys.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=message) as error:
        KeyRing(path=path)
    assert "the-secret" not in str(error.value)


def test_no_key_is_in_a_log_or_an_answer(
    tts: FireRedTTS2, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch
):
    caplog.set_level(logging.DEBUG)
    wrong = "a-wrong-but-secret-key"

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError(f"failed with {KEYS[0]}")

    with client_of(tts, tmp_path, KEYS[0], api_keys=KEYS) as client:
        answers = [
            client.get("/v1/voices", headers={"authorization": f"Bearer {wrong}"}),
            client.get("/v1/nowhere"),
            say(client, voice="nobody"),
            client.post("/v1/audio/speech", content=b"{"),
            client.get("/metrics"),
            client.get("/openapi.json"),
        ]
        monkeypatch.setattr(tts, "stream_say", broken)
        answers.append(say(client))
    assert answers[-1].status_code == 500
    hiding = HidingFormatter(logging.Formatter("%(message)s"), KEYS)
    assert KEYS[0] in caplog.text, "a library that tells it would be heard without the filter"
    told = [hiding.format(record) for record in caplog.records]
    told += [answer.text + str(answer.headers) for answer in answers]
    told += [repr(ServingConfig(api_keys=KEYS)), repr(KeyRing(KEYS)._clients.values())]
    assert not [text for text in told if any(key in text for key in (*KEYS, wrong))]


def test_handlers_hide_keys_once_told_so(capsys: pytest.CaptureFixture):
    logger = logging.getLogger("uvicorn.access")
    handler = logging.StreamHandler()
    logger.addHandler(handler)
    try:
        hide(KEYS)
        hide(KEYS)
        logger.warning("GET /?key=%s", KEYS[0])
    finally:
        logger.removeHandler(handler)
    assert "GET /?key=[key]" in capsys.readouterr().err
