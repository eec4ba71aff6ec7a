"""Requests and messages made wrong, the same for the same seed."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any

JUNK_VALUES: list[Any] = [
    None, True, -1, 0, 2**63, 2**64, 10**400, 1e308, "", "\x00", "\ud800", "a" * 5_000, "../../etc",
    "[S1]", "[S9]x", "[pause:99999s]", "{}", [], {}, [[]], {"a": {}}, "data:audio/wav;base64,AAAA",
    "data:,", "file:///etc/passwd", "\u202e\u0000", "😀" * 300, "%00", "NaN", [None] * 50,
]  # fmt: skip
SPEECH = {"model": "tts-1", "input": "Hi.", "voice": "af_heart", "response_format": "pcm",
          "stream_format": "audio", "speed": 1.0, "seed": 1, "temperature": 0.9, "topk": 9,
          "ref_audio": None, "ref_text": None}  # fmt: skip
DIALOGUE = {"turns": [{"speaker": "S1", "text": "Hi.", "pause_s": 0.1}], "script": None,
            "voices": {"S1": "af_heart"}, "response_format": "wav", "seed": 1}  # fmt: skip
NAMES = [
    "../../../etc/passwd", "..%2f..%2fetc%2fpasswd", "%2e%2e/%2e%2e/x", "..", ".", "%00", "a%00b",
    "....//", "\\..\\..\\x", "C:%5cx", "/etc/passwd", "//", "af_heart/../../x", "%ff%fe",
    "x" * 3_000,
    "af_heart%0d%0aX: y", "keys/0", "keys", "~root", "af_heart.safetensors", "%252e%252e%252f",
]  # fmt: skip
HEADERS = [
    b"Content-Length: -1", b"Content-Length: 5\r\nContent-Length: 6", b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: gzip, chunked", b"Content-Type: \xff", b"Expect: 100-continue",
    b"Upgrade: websocket\r\nConnection: Upgrade", b"X: " + b"y" * 70_000, b"Range: bytes=0-",
    b"Authorization: Bearer \xff\x00", b"Content-Encoding: gzip", b"Content-Length: 99999999999",
    b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", b"Content-Type: multipart/form-data",
    b"Content-Type: multipart/form-data; boundary=\xff", b"Cookie: " + b"a=b;" * 500,
]  # fmt: skip


def requests(seed: int, count: int) -> Iterator[bytes]:
    """Requests as bytes, each of a kind that chance picks."""
    chance = random.Random(seed)
    for _ in range(count):
        yield chance.choice(
            [spoilt_fields, spoilt_fields, spoilt_bytes, spoilt_headers, spoilt_names, spoilt_forms]
        )(chance)


def framed(method: str, path: bytes, body: bytes, kind: bytes = b"application/json") -> bytes:
    """A whole request that ends its connection."""
    lines = [
        method.encode() + b" " + path + b" HTTP/1.1", b"Host: a", b"Connection: close",
        b"Content-Type: " + kind, b"Content-Length: %d" % len(body), b"", body,
    ]  # fmt: skip
    return b"\r\n".join(lines)


def spoilt_value(value: Any, chance: random.Random) -> Any:
    """JSON with something wrong in some place of it."""
    if isinstance(value, dict) and value and chance.random() < 0.8:
        name = chance.choice(list(value))
        changed = {**value, name: spoilt_value(value[name], chance)}
        if chance.random() < 0.1:
            del changed[name]
        return changed
    if isinstance(value, list) and value and chance.random() < 0.7:
        return [spoilt_value(chance.choice(value), chance)] * chance.choice([1, 2, 40])
    return chance.choice(JUNK_VALUES)


def spoilt_fields(chance: random.Random) -> bytes:
    path, whole = chance.choice([(b"/v1/audio/speech", SPEECH), (b"/v1/audio/dialogue", DIALOGUE)])
    body = json.dumps(spoilt_value(whole, chance)).encode()
    if chance.random() < 0.2:
        body = spoilt(body, chance)
    return framed("POST", path, body)


def spoilt_bytes(chance: random.Random) -> bytes:
    """A right request whose bytes are not what they were."""
    return spoilt(framed("POST", b"/v1/audio/speech", json.dumps(SPEECH).encode()), chance)


def spoilt(data: bytes, chance: random.Random) -> bytes:
    made = bytearray(data)
    for _ in range(chance.randrange(1, 8)):
        at = chance.randrange(len(made) + 1)
        kind = chance.randrange(4)
        if kind == 0:
            made[at : at + 1] = bytes([chance.randrange(256)])
        elif kind == 1:
            del made[at : at + chance.randrange(1, 20)]
        elif kind == 2:
            made[at:at] = chance.randbytes(chance.randrange(1, 20))
        else:
            made[at:at] = made[: chance.randrange(1, 40)]
    return bytes(made)


def spoilt_headers(chance: random.Random) -> bytes:
    method = chance.choice([b"GET", b"POST", b"PUT", b"HEAD", b"TRACE", b"PRI", b"get", b"\x00"])
    paths = [b"/v1/voices", b"/v1/audio/speech", b"/health", b"*", b"//", b"/" * 5_000]
    path = chance.choice(paths)
    headers = b"\r\n".join(chance.choice(HEADERS) for _ in range(chance.randrange(1, 4)))
    body = chance.choice([b"", b"{}", b"5\r\nhello\r\n0\r\n\r\n", b"zz\r\n", b"-1\r\n\r\n"])
    return method + b" " + path + b" HTTP/1.1\r\nHost: a\r\n" + headers + b"\r\n\r\n" + body


def spoilt_names(chance: random.Random) -> bytes:
    name = chance.choice(NAMES).encode("utf-8", "surrogateescape").replace(b" ", b"%20")
    method = chance.choice(["GET", "DELETE", "GET", "POST"])
    ending = chance.choice([b"", b"/audio", b"/audio/..", b"?x=../.."])
    place = chance.choice([b"/v1/voices/", b"/v1/voices/", b"/v1/jobs/", b"/v1/", b"/docs/"])
    return framed(method, place + name + ending, b"")


def spoilt_forms(chance: random.Random) -> bytes:
    """An upload with something wrong; seldom one that comes as far as the decoder."""
    name = chance.choice(NAMES) if chance.random() < 0.9 else "fine"
    clip = chance.choice([b"", b"RIFF", chance.randbytes(300), b"#EXTM3U\nfile:///etc/passwd\n"])
    part = b'--b\r\nContent-Disposition: form-data; name="%s"%s\r\n\r\n%s\r\n'
    body = part % (b"name", b"", name.encode()) + part % (b"text", b"", b"Hi.")
    body += part % (b"file", b'; filename="../../x.wav"', clip) + b"--b--\r\n"
    if chance.random() < 0.7:
        body = spoilt(body, chance)
    return framed("POST", b"/v1/voices", body, b"multipart/form-data; boundary=b")
