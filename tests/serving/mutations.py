"""Requests made wrong, the same for the same seed: each route there is, and what is no HTTP."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

JUNK_VALUES: list[Any] = [
    None, True, -1, 0, 2**63, 2**64, 10**400, 1e308, "", "\x00", "\ud800", "a" * 5_000, "../../etc",
    "[S1]", "[S9]x", "[pause:99999s]", "{}", [], {}, [[]], {"a": {}}, "data:audio/wav;base64,AAAA",
    "data:,", "file:///etc/passwd", "\u202e\u0000", "😀" * 300, "%00", "NaN", [None] * 50,
    float("nan"), float("-inf"), -0.0, {"": ""}, {"__proto__": {}}, "S5", "'; DROP TABLE jobs; --",
]  # fmt: skip
SPEECH = {"model": "tts-1", "input": "Hi.", "voice": "af_heart", "response_format": "pcm",
          "stream_format": "audio", "speed": 1.0, "seed": 1, "temperature": 0.9, "topk": 9,
          "ref_audio": None, "ref_text": None}  # fmt: skip
DIALOGUE = {"turns": [{"speaker": "S1", "text": "Hi.", "pause_s": 0.1}], "script": None,
            "voices": {"S1": "af_heart"}, "response_format": "wav", "seed": 1}  # fmt: skip
JOB = {"title": "T", "text": "Hi.", "script": None, "turns": None, "chapters": None, "stems": False,
       "voice": "af_heart", "voices": {}, "formats": ["wav"], "subtitles": ["srt"], "seed": 1,
       "paragraph_pause_s": 0.1, "chapter_pause_s": 0.1}  # fmt: skip
SESSION = {"voices": {"S1": "af_heart"}, "seed": 1, "temperature": 0.9, "topk": 9}
#: Right bodies, from which wrong ones are made.
BODIES: Mapping[str, dict[str, Any]] = {
    "/v1/audio/speech": SPEECH,
    "/v1/audio/dialogue": DIALOGUE,
    "/v1/jobs": JOB,
    "/v1/sessions": SESSION,
}
NAMES = [
    "../../../etc/passwd", "..%2f..%2fetc%2fpasswd", "%2e%2e/%2e%2e/x", "..", ".", "%00", "a%00b",
    "....//", "\\..\\..\\x", "C:%5cx", "/etc/passwd", "//", "af_heart/../../x", "%ff%fe",
    "x" * 3_000,
    "af_heart%0d%0aX: y", "keys/0", "keys", "~root", "af_heart.safetensors", "%252e%252e%252f",
    "%c0%ae%c0%ae/", "..;/x", "..%5c..%5cx", "jobs.sqlite", "-rf", "$(id)", "\u2025/x", "NUL",
]  # fmt: skip
HEADERS = [
    b"Content-Length: -1", b"Content-Length: 5\r\nContent-Length: 6", b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: gzip, chunked", b"Content-Type: \xff", b"Expect: 100-continue",
    b"Upgrade: websocket\r\nConnection: Upgrade", b"X: " + b"y" * 70_000, b"Range: bytes=0-",
    b"Authorization: Bearer \xff\x00", b"Content-Encoding: gzip", b"Content-Length: 99999999999",
    b"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\n"
    b"Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", b"Content-Type: multipart/form-data",
    b"Content-Type: multipart/form-data; boundary=\xff", b"Cookie: " + b"a=b;" * 500,
    b"Content-Length: 4\r\nTransfer-Encoding: chunked", b"Last-Event-ID: \xb2", b"Host: b",
    b"Range: bytes=9-1,-5,0-0" + b",0-0" * 900, b" folded: x", b"no colon", b": no name",
]  # fmt: skip
GARBAGE = [
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes(9), b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"\x05\x01\x00", b"\x00" * 4_000, b"GET / HTTP/9.9\r\n\r\n", b"GET /" + b"a" * 100_000,
    b"GET http://169.254.169.254/latest HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
    b"CONNECT 127.0.0.1:22 HTTP/1.1\r\nHost: a\r\n\r\n", b"\r\n" * 3_000, b"*1\r\n$4\r\nPING\r\n",
    b"GET /health HTTP/1.1\r\nHost: a\r\n\r\n" * 40, b"GET /health\r\n\r\n", b"{}",
    b"POST /v1/audio/speech HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"FFFFFFFFFFFFFFFFFF\r\n{}", b"POST /v1/jobs HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{",
    b"POST /v1/voices HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n0\r\nX: y",
]  # fmt: skip


@dataclass(frozen=True)
class Operation:
    """A route and a method of it; `path` has its parameters in braces."""

    method: str
    path: str


def operations(schema: Mapping[str, Any]) -> list[Operation]:
    """Every operation of an OpenAPI document."""
    paths = schema["paths"].items()
    return [Operation(method.upper(), path) for path, methods in paths for method in methods]


def requests(seed: int, count: int, routes: list[Operation]) -> Iterator[tuple[str, bytes]]:
    """Requests as bytes, each of a kind that chance picks, and what they are aimed at."""
    chance = random.Random(seed)
    kinds = [spoilt_bytes, spoilt_headers, spoilt_names, spoilt_forms, garbage]
    for _ in range(count):
        if chance.random() < 0.6:
            route = chance.choice(routes)
            yield f"{route.method} {route.path}", spoilt_route(route, chance)
        else:
            kind = chance.choice(kinds)
            yield kind.__name__, kind(chance)


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


def spoilt_route(route: Operation, chance: random.Random) -> bytes:
    """A request to a route: wrong names in its path, wrong values in its body and query."""

    def named(_: re.Match[str]) -> str:
        return "af_heart" if chance.random() < 0.4 else chance.choice(NAMES)

    path = re.sub(r"\{[\w:]+\}", named, route.path).encode("utf-8", "surrogateescape")
    if chance.random() < 0.2:
        path += b"?" + chance.choice([b"output_format=x", b"a=%ff", b"&&&", b"x=" + b"y" * 3_000])
    if route.path == "/v1/voices" and route.method == "POST":
        return spoilt_forms(chance)
    whole = BODIES.get(route.path, {"text": "Hi.", "model_id": "x", "voice_settings": {}})
    body = json.dumps(spoilt_value(whole, chance)).encode() if route.method == "POST" else b""
    if chance.random() < 0.2:
        body = spoilt(body, chance)
    method = route.method if chance.random() < 0.9 else chance.choice(["PUT", "PATCH", "OPTIONS"])
    return framed(method, path.replace(b" ", b"%20"), body)


def spoilt_bytes(chance: random.Random) -> bytes:
    """A right request whose bytes are not what they were."""
    return spoilt(framed("POST", b"/v1/audio/speech", json.dumps(SPEECH).encode()), chance)


def spoilt(data: bytes, chance: random.Random) -> bytes:
    """The bytes with some changed, gone, added and repeated."""
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
    """A head with something in it that contradicts the rest."""
    method = chance.choice([b"GET", b"POST", b"PUT", b"HEAD", b"TRACE", b"PRI", b"get", b"\x00"])
    paths = [b"/v1/voices", b"/v1/audio/speech", b"/health", b"*", b"//", b"/" * 5_000]
    path = chance.choice([*paths, b"/v1/jobs", b"/v1/sessions", b"/v1/audio/speech/stream"])
    headers = b"\r\n".join(chance.choice(HEADERS) for _ in range(chance.randrange(1, 4)))
    body = chance.choice([b"", b"{}", b"5\r\nhello\r\n0\r\n\r\n", b"zz\r\n", b"-1\r\n\r\n"])
    return method + b" " + path + b" HTTP/1.1\r\nHost: a\r\n" + headers + b"\r\n\r\n" + body


def spoilt_names(chance: random.Random) -> bytes:
    """A path where a name should be."""
    name = chance.choice(NAMES).encode("utf-8", "surrogateescape").replace(b" ", b"%20")
    method = chance.choice(["GET", "DELETE", "GET", "POST"])
    ending = chance.choice(
        [b"", b"/audio", b"/audio/..", b"?x=../..", b"/files/../../x", b"/events"]
    )
    places = [b"/v1/voices/", b"/v1/voices/", b"/v1/jobs/", b"/v1/", b"/docs/", b"/v1/sessions/"]
    return framed(method, chance.choice(places) + name + ending, b"")


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


def garbage(chance: random.Random) -> bytes:
    """What is no HTTP, or hardly."""
    if chance.random() < 0.4:
        return chance.randbytes(chance.randrange(1, 3_000))
    made = chance.choice(GARBAGE)
    return spoilt(made, chance) if chance.random() < 0.3 else made
