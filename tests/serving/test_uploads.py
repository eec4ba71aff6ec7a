"""Uploaded clips: decoded in a process that can do nothing else, whatever they are."""

import collections
import io
import json
import logging
import random
import struct
import subprocess
import sys
import time
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from fireredtts2 import FireRedTTS2
from fireredtts2.serving import upload_decoder
from fireredtts2.serving.upload_decoder import DecodeError, UploadDecoder, samples_of
from tests.serving.hosting import client_of, clip, model, say, upload

logger = logging.getLogger(__name__)
pytest_plugins = ("tests.speaking",)
RATE_HZ = 16_000


@pytest.fixture(scope="module")
def decoder():
    made = UploadDecoder(timeout_s=20)
    made.warm()
    yield made
    made.close()


def encoded(container: str, codec: str, seconds: float = 1.0, silent: bool = False) -> bytes:
    """A clip that FFmpeg makes."""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        stream = output.add_stream(codec, rate=48_000, layout="mono")
        noise = np.random.default_rng(0).standard_normal(48_000).astype(np.float32) * 0.1
        for second in range(int(seconds)):
            block = np.zeros_like(noise) if silent else noise
            frame = av.AudioFrame.from_ndarray(block[None], format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 48_000, second * 48_000
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    return file.getvalue()


def wav_that_claims(num_bytes: int, rate_hz: int = RATE_HZ, channels: int = 1) -> bytes:
    width = min(2 * channels, 0xFFFF)
    form = struct.pack("<HHIIHH", 1, channels, rate_hz, 32_000, width, 16)
    head = b"RIFF" + struct.pack("<I", 0xFFFFFFFF) + b"WAVEfmt " + struct.pack("<I", 16) + form
    noise = np.random.default_rng(0).integers(-9_000, 9_000, RATE_HZ).astype("<i2").tobytes()
    return head + b"data" + struct.pack("<I", num_bytes) + noise


@pytest.mark.parametrize(
    "format",
    ["WAV", "FLAC", "MP3", "OGG", "m4a", "webm", "opus"],
)
def test_what_people_send_is_read(decoder: UploadDecoder, format: str):
    made = {
        "m4a": ("mp4", "aac"),
        "webm": ("webm", "libopus"),
        "opus": ("ogg", "libopus"),
    }.get(format)
    data = encoded(*made) if made else clip(1.0, format, 48_000)
    audio = decoder.decode(data)
    assert len(audio) / RATE_HZ == pytest.approx(1.0, abs=0.1)
    assert np.abs(audio).max() > 0.05


def test_the_samples_are_those_of_the_library(decoder: UploadDecoder):
    from fireredtts2.audio import read_audio

    data = clip(1.0, "FLAC", 44_100)
    assert np.array_equal(decoder.decode(data), read_audio(data, RATE_HZ).numpy())


PLAYLISTS = {
    "m3u8": b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile://%s\n#EXT-X-ENDLIST\n",
    "concat": b"ffconcat version 1.0\nfile '%s'\n",
    "sdp": b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nm=audio 5004 RTP/AVP 0\r\na=%s\r\n",
    "asx": b"<asx version='3.0'><entry><ref href='%s'/></entry></asx>",
    "dash": b"<?xml version='1.0'?><MPD xmlns='urn:mpeg:dash:schema:mpd:2011'>"
    b"<BaseURL>%s</BaseURL></MPD>",
    "path": b"%s",
}


@pytest.mark.parametrize("kind", list(PLAYLISTS))
def test_no_other_file_is_opened(decoder: UploadDecoder, kind: str, tmp_path: Path):
    secret = tmp_path / "secret.wav"
    secret.write_bytes(clip())
    text = PLAYLISTS[kind].replace(b"%s", str(secret).encode())
    with pytest.raises(DecodeError):
        decoder.decode(text)


HOSTILE = {
    "empty": lambda: b"",
    "an hour of silence in FLAC": lambda: clip_of_zeros(3_600),
    "a bomb in Opus": lambda: encoded("ogg", "libopus", 600, silent=True),
    "41 s": lambda: clip(41.0),
    "a WAV of no channels": lambda: wav_that_claims(1_000, channels=0),
    "a WAV of 60000 channels": lambda: wav_that_claims(1_000, channels=60_000),
    "a WAV of 4 GHz": lambda: wav_that_claims(1_000, rate_hz=0xFFFFFFFF),
    "a picture": lambda: b"\x89PNG\r\n\x1a\n" + bytes(500),
    "a program": lambda: b"\x7fELF" + bytes(500),
    "a zip": lambda: b"PK\x03\x04" + bytes(500),
    "a film without sound": lambda: silent_film(),
    "a FLAC that claims hours": lambda: flac_that_claims_hours(),
    "not numbers": lambda: not_numbers(),
}


def clip_of_zeros(seconds: int) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.zeros(8_000 * seconds, np.int16), 8_000, format="FLAC")
    return file.getvalue()


def silent_film() -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as output:
        stream = output.add_stream("mpeg4", rate=10)
        stream.width = stream.height = 32
        picture = np.zeros((32, 32, 3), np.uint8)
        output.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        output.mux(stream.encode(None))
    return file.getvalue()


def flac_that_claims_hours() -> bytes:
    data = bytearray(clip(1.0, "FLAC"))
    data[21:26] = bytes([data[21] | 0x0F, 0xFF, 0xFF, 0xFF, 0xFF])  # the number of samples
    return bytes(data[: len(data) // 2])


def not_numbers() -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.full(16_000, np.nan, np.float32), 16_000, "FLOAT", format="WAV")
    return file.getvalue()


@pytest.mark.parametrize("kind", list(HOSTILE))
def test_hostile_clips_are_refused_in_time(decoder: UploadDecoder, kind: str):
    data = HOSTILE[kind]()
    began = time.monotonic()
    audio, error = outcome(decoder, data)
    assert error or kind == "a FLAC that claims hours", "what is there of that may be taken"
    assert len(audio) <= 41 * RATE_HZ
    assert time.monotonic() - began < 12
    assert len(decoder.decode(clip(1.0))) == RATE_HZ, "and the next one is read"


def outcome(decoder: UploadDecoder, data: bytes) -> tuple[np.ndarray, str]:
    """What a clip decodes to, or what is said of it."""
    try:
        return decoder.decode(data), ""
    except DecodeError as error:
        return np.zeros(0, np.float32), str(error)


def test_a_wav_whose_header_lies_is_what_is_there(decoder: UploadDecoder):
    assert len(decoder.decode(wav_that_claims(0x7FFFFFF0))) == RATE_HZ


@pytest.mark.parametrize("count", [12, pytest.param(400, marks=pytest.mark.slow)])
def test_damaged_clips_end_in_an_answer(decoder: UploadDecoder, count: int):
    chance = random.Random(0)
    whole = [clip(0.5, "FLAC"), clip(0.5, "MP3"), encoded("mp4", "aac"), encoded("ogg", "libopus")]
    outcomes, began = collections.Counter(), time.monotonic()
    for index in range(count):
        data = bytearray(whole[index % len(whole)])
        for _ in range(chance.randrange(1, 30)):
            data[chance.randrange(len(data))] = chance.randrange(256)
        damaged = bytes(data[: chance.randrange(1, len(data) + 1)])
        audio, error = outcome(decoder, damaged)
        assert len(audio) <= 41 * RATE_HZ
        assert error or len(audio), index
        outcomes["refused" if error else "read"] += 1
    logger.info("%d clips, %.0f s, %s", count, time.monotonic() - began, dict(outcomes))


def probe(code: str) -> str:
    """What a program says after the decoder's limits are set."""
    program = (
        "from fireredtts2.serving import decoder_process\n"
        "decoder_process.rehearse()\ndecoder_process.shut_in()\n"
        f"try:\n    {code}\n    print('done')\n"
        "except (OSError, MemoryError) as error:\n    print(type(error).__name__)"
    )
    environment = {"PYTHONPATH": upload_decoder.PACKAGE_PARENT, "OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment
    )
    return done.stdout.strip()


@pytest.mark.parametrize(
    "code",
    [
        "open('/etc/hostname').read()",
        "__import__('os').open('/tmp/made', 65)",
        "__import__('socket').socket()",
        "__import__('os').pipe()",
        "bytearray(2**31)",
    ],
)
def test_the_process_can_do_nothing_else(code: str):
    assert probe(code) in ("OSError", "MemoryError")


def test_the_process_gets_no_secrets(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FIREREDTTS2_API_KEYS", "the-first-long-key")
    process = upload_decoder.start()
    try:
        environ = Path(f"/proc/{process.pid}/environ").read_bytes()
        status = ""
        ends_at = time.monotonic() + 10
        while "NoNewPrivs:\t1" not in status and time.monotonic() < ends_at:
            status = Path(f"/proc/{process.pid}/status").read_text()
            time.sleep(0.02)
    finally:
        upload_decoder.end(process)
    assert b"the-first-long-key" not in environ
    assert "NoNewPrivs:\t1" in status


def test_torch_is_not_loaded_there():
    code = "import sys, fireredtts2.serving.decoder_process; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_one_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch):
    hanging = [sys.executable, "-c", "import time; time.sleep(60)"]
    popen = subprocess.Popen
    monkeypatch.setattr(subprocess, "Popen", lambda _, **given: popen(hanging, **given))
    decoder = UploadDecoder(timeout_s=0.3)
    began = time.monotonic()
    with pytest.raises(DecodeError):
        decoder.decode(bytes(10_000_000))
    decoder.close()
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"{",
        b"[]\n",
        b"null\n",
        b'{"num_samples": 2}\n0000',
        b'{"num_samples": -1}\n',
        b'{"num_samples": 0}\n',
        b'{"num_samples": "4"}\n0000',
        b"[" * 3_000 + b"\n",
        json.dumps({"num_samples": 1}).encode() + b"\n\0\0\xc0\x7f",
        b'{"num_samples": 900000}\n' + bytes(3_600_000),
    ],
)
def test_what_a_captured_process_says_is_not_believed(answer: bytes):
    with pytest.raises(DecodeError):
        samples_of(answer)


def test_uploads_and_reference_clips_go_through_it(voiced_checkpoint: Path, tmp_path: Path):
    import base64

    tts: FireRedTTS2 = model(voiced_checkpoint)
    with client_of(tts, tmp_path) as client:
        assert upload(client, "anna", encoded("mp4", "aac")).status_code == 201
        answer = upload(client, "bert", b"#EXTM3U\nfile:///etc/passwd\n")
        assert answer.status_code == 400
        assert "not audio" in answer.json()["error"]["message"]
        url = "data:audio/wav;base64," + base64.b64encode(b"ffconcat version 1.0\n").decode()
        assert say(client, ref_audio=url, ref_text="Hi.").status_code == 400
        assert "decode_failures_total 2.0" in client.get("/metrics").text
