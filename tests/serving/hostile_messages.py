"""WebSocket messages made wrong, and the frames that carry them, written by hand."""

from __future__ import annotations

import contextlib
import json
import random
import select
import socket
import struct
from collections.abc import Callable
from typing import Any

from tests.serving.mutations import JUNK_VALUES, spoilt, spoilt_value

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
ACCEPTED = b"HTTP/1.1 101"
LIVE_PATH = "/v1/audio/speech/stream"
STREAM_PATH = "/v1/text-to-speech/af_heart/stream-input"
LIVE: list[dict[str, Any]] = [
    {"type": "session.config", "voice": "af_heart", "context_id": "a", "format": "pcm",
     "audio": "binary", "speed": 1.0, "seed": 1, "voices": {"S2": "af_heart"}},
    {"type": "input.text", "text": "Hi there. ", "context_id": "a", "speaker": "S1"},
    {"type": "input.flush", "context_id": "a"},
    {"type": "input.done", "context_id": "a"},
    {"type": "cancel", "context_id": "a", "played_s": 0.1},
    {"type": "context.close", "context_id": "a"},
]  # fmt: skip
STREAM: list[dict[str, Any]] = [
    {"text": " ", "voice_settings": {"stability": 0.5}, "xi_api_key": "x"},
    {"text": "Hi there. ", "try_trigger_generation": True, "flush": True},
    {"text": "And more of it"},
    {"text": ""},
]


def frame(
    opcode: int,
    data: bytes,
    *,
    is_last: bool = True,
    is_masked: bool = True,
    claimed: int | None = None,
    reserved: int = 0,
) -> bytes:
    """A client's frame (RFC 6455, 5.2), with what a client may not do where it is asked for."""
    size = len(data) if claimed is None else claimed
    head = bytes([is_last << 7 | reserved << 4 | opcode])
    bit = is_masked << 7
    if size < 126:
        head += bytes([bit | size])
    elif size < 2**16:
        head += struct.pack("!BH", bit | 126, size)
    else:
        head += struct.pack("!BQ", bit | 127, size)
    return head + (bytes(4) if is_masked else b"") + data  # a mask of zeros changes nothing


def text(value: Any) -> bytes:
    """JSON in a frame."""
    data = value if isinstance(value, str) else json.dumps(value)
    return frame(TEXT, data.encode(errors="surrogatepass"))


# --- What one connection sends: lists of frames -------------------------------------------------


def wrong_values(whole: list[dict[str, Any]], chance: random.Random) -> list[bytes]:
    """Right messages with something wrong in them."""
    made = [chance.choice(whole) for _ in range(25)]
    return [text(m if chance.random() < 0.2 else spoilt_value(m, chance)) for m in made]


def wrong_json(whole: list[dict[str, Any]], chance: random.Random) -> list[bytes]:
    """Messages whose bytes are not what they were; many are no UTF-8."""
    made = [json.dumps(chance.choice(whole)).encode() for _ in range(25)]
    return [frame(TEXT, spoilt(data, chance).decode("latin-1").encode()) for data in made]


def not_utf8(whole: list[dict[str, Any]], chance: random.Random) -> list[bytes]:
    """Text frames that hold no text."""
    bad = [b"\xff\xfe", b"\xc0\x80", b"\xed\xa0\x80", b"\xf5\x80\x80\x80", b'{"text": "\xe4"}']
    return [text(whole[0]), frame(TEXT, chance.choice(bad) + chance.randbytes(20))]


def binary(whole: list[dict[str, Any]], chance: random.Random) -> list[bytes]:
    """Binary frames where text is due."""
    right = json.dumps(chance.choice(whole)).encode()
    return [text(whole[0]), *(frame(BINARY, d) for d in (right, b"", chance.randbytes(5_000)))]


def huge(whole: list[dict[str, Any]], chance: random.Random) -> list[bytes]:
    """Texts of a kilobyte to two megabytes."""
    long = "word " * chance.choice([200, 5_000, 20_000, 400_000])
    return [text({**whole[1], "text": long}) for _ in range(3)] + [text(long)]


def deep(whole: list[dict[str, Any]], chance: random.Random) -> list[bytes]:
    """Lists and objects in one another."""
    times = chance.choice([40, 1_000, 30_000])
    inner = '{"a":' * times + "1" + "}" * times
    texts = ["[" * times, '{"text": ' * times, '{"text": "x", "b": ' + inner + "}", inner]
    return [text(made) for made in texts]


def wrong_order(whole: list[dict[str, Any]], chance: random.Random) -> list[bytes]:
    """Right messages, in any order."""
    return [text(chance.choice(whole)) for _ in range(25)]


def many_contexts(_: list[dict[str, Any]], chance: random.Random) -> list[bytes]:
    """A hundred ids on one connection; with chance's prefix it is never the same hundred."""
    prefix = chance.getrandbits(32)
    kinds = [LIVE[0], LIVE[1], LIVE[4], LIVE[5]]
    return [text({**chance.choice(kinds), "context_id": f"{prefix}.{n}"}) for n in range(100)]


def cancel_storm(_: list[dict[str, Any]], chance: random.Random) -> list[bytes]:
    """Texts that are broken off as soon as they begin, again and again."""
    storm = [LIVE[0]]
    for _ in range(12):
        storm += [LIVE[1], LIVE[3], *[LIVE[4]] * chance.randrange(1, 5)]
    return [text(message) for message in storm]


def odd_frames(whole: list[dict[str, Any]], chance: random.Random) -> list[bytes]:
    """Frames that break the protocol, and halves of frames."""
    right = json.dumps(whole[1]).encode()
    odd = chance.choice([
        [frame(TEXT, right, claimed=len(right) + 100)],
        [frame(TEXT, b"", claimed=2**62)],
        [frame(TEXT, right, claimed=40_000_000)],
        [frame(TEXT, right)[: chance.randrange(1, 12)]],
        [frame(TEXT, right, is_masked=False)],
        [frame(TEXT, right, reserved=chance.randrange(1, 8))],
        [frame(chance.choice([3, 7, 11, 15]), right)],
        [frame(0, right)],
        [frame(TEXT, b"{", is_last=False), frame(TEXT, b"}")],
        [frame(TEXT, b"[", is_last=False), *[frame(0, b"[", is_last=False)] * 200],
        [frame(PING, bytes(126))],
        [frame(PING, bytes(9))] * 100,
        [frame(PONG, b"x")] * 50,
        [frame(PING, b"", is_last=False)],
        [frame(CLOSE, struct.pack("!H", chance.choice([0, 999, 1005, 1015, 65_535])))],
        [frame(CLOSE, b"\x03")],
        [frame(CLOSE, b""), text(whole[1])],
        [chance.randbytes(300)],
    ])  # fmt: skip
    return [text(whole[0]), *odd]


def junk(_: list[dict[str, Any]], chance: random.Random) -> list[bytes]:
    """JSON that is no message."""
    return [text(chance.choice(JUNK_VALUES)) for _ in range(25)]


Plan = Callable[[list[dict[str, Any]], random.Random], list[bytes]]
ON_BOTH: list[Plan] = [
    wrong_values, wrong_json, not_utf8, binary, huge, deep, wrong_order, odd_frames, junk,
]  # fmt: skip
ON_LIVE: list[Plan] = [*ON_BOTH, wrong_values, many_contexts, cancel_storm]


# --- A connection -------------------------------------------------------------------------------


class RawSocket:
    """A WebSocket without a library, which would refuse to send what is wrong."""

    def __init__(self, at: tuple[str, int], path: str, buffer_bytes: int = 0) -> None:
        self.connection = socket.socket()
        self.connection.settimeout(8)
        if buffer_bytes:  # it has to be set before there is a connection
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
        self.connection.connect(at)
        self._received = b""
        head = f"GET {path} HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        head += "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
        self.connection.sendall(head.encode())
        while b"\r\n\r\n" not in self._received:
            part = self.connection.recv(65_536)
            assert part, f"closed while it opened: {self._received!r}"
            self._received += part
        answer, _, self._received = self._received.partition(b"\r\n\r\n")
        assert answer.startswith(ACCEPTED), answer

    def send(self, data: bytes) -> bool:
        """Whether it could be sent."""
        try:
            self.connection.sendall(data)
        except (ConnectionError, TimeoutError):
            return False
        return True

    def read(self, silence_s: float) -> list[tuple[int, bytes]]:
        """Frames (opcode, payload) until it is closed, or silent for so long."""
        frames: list[tuple[int, bytes]] = []
        with contextlib.suppress(ConnectionError):
            while not any(opcode == CLOSE for opcode, _ in frames):
                if not select.select([self.connection], [], [], silence_s)[0]:
                    break
                part = self.connection.recv(1 << 20)
                if not part:
                    frames.append((CLOSE, b""))
                    break
                self._received += part
                frames += self._whole_frames()
        return frames

    def _whole_frames(self) -> list[tuple[int, bytes]]:
        frames = []
        while len(self._received) >= 2:
            opcode, size, start = self._received[0] & 15, self._received[1], 2
            if size >= 126:
                start = 4 if size == 126 else 10
                size = int.from_bytes(self._received[2:start], "big")
            if len(self._received) < start + size:
                break
            frames.append((opcode, self._received[start : start + size]))
            self._received = self._received[start + size :]
        return frames

    def close(self) -> None:
        """Goes without a word."""
        self.connection.close()
