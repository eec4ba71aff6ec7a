"""Decodes one clip in a process that may do nothing else: `python -m ...decoder_process`.

A clip comes from whoever may upload, and decoders of forty formats are much code. Here it meets
them with no secrets in the environment, no further file or socket to be had, and bounded memory and
time.

Standard input: the clip, to its end. Standard output: one line of JSON (`error`, or `num_samples`),
then the float32 samples at 16 kHz.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import io
import json
import os
import pkgutil
import resource
import sys
import wave

import av

from fireredtts2.audio_decoding import MAX_PROMPT_S, decode, decode_with_av
from fireredtts2.config import INPUT_RATE_HZ

#: Beyond what the loaded libraries take. 40 s of 192 kHz stereo are 31 MB, half a dozen times.
MAX_MEMORY_BYTES = 512 * 2**20
MAX_CPU_S = 10
NO_NEW_PRIVILEGES = 38  # PR_SET_NO_NEW_PRIVS of Linux


def main() -> None:
    """Decodes standard input."""
    rehearse()
    shut_in()
    head, samples = answer_to(sys.stdin.buffer.read())
    sys.stdout.buffer.write(json.dumps(head).encode() + b"\n" + samples)
    sys.stdout.buffer.flush()
    # Without the interpreter's end: a decoder that damaged its memory must not hang there.
    os._exit(0)


def answer_to(clip: bytes) -> tuple[dict[str, object], bytes]:
    """The head and the samples that answer a clip."""
    try:
        audio = decode(clip, INPUT_RATE_HZ, MAX_PROMPT_S)
    except ValueError as error:
        return {"error": str(error)}, b""
    except MemoryError:
        return {"error": "audio bytes: takes too much memory to decode"}, b""
    except Exception as error:
        return {"error": f"audio bytes: cannot be decoded ({type(error).__name__})"}, b""
    return {"num_samples": int(audio.size)}, audio.astype("<f4").tobytes()


def rehearse() -> None:
    """Imports what decoders import when they are first used: later, no file can be opened."""
    for module in pkgutil.walk_packages(av.__path__, "av."):
        if module.name != "av.__main__":
            importlib.import_module(module.name)
    tone = io.BytesIO()
    with wave.open(tone, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(48_000)
        file.writeframes(b"\0\1" * 4_800)
    decode(tone.getvalue(), INPUT_RATE_HZ)
    decode_with_av(tone.getvalue())


def shut_in() -> None:
    """Takes from this process what decoding does not need."""
    limit(resource.RLIMIT_CORE, 0)
    limit(resource.RLIMIT_FSIZE, 0)
    limit(resource.RLIMIT_CPU, MAX_CPU_S)
    limit(resource.RLIMIT_AS, mapped_bytes() + MAX_MEMORY_BYTES)
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(NO_NEW_PRIVILEGES, 1, 0, 0, 0)
    # Standard input, output and error are open; nothing more can be: no file, no pipe, no socket.
    limit(resource.RLIMIT_NOFILE, 3)


def limit(kind: int, value: int) -> None:
    """Sets a limit that this process cannot raise again."""
    with contextlib.suppress(ValueError, OSError):  # the system has none, or a lower one
        resource.setrlimit(kind, (value, value))


def mapped_bytes() -> int:
    """Address space in use; 0 where the system does not tell, so that libraries count too."""
    try:
        with open("/proc/self/statm", encoding="ascii") as file:
            return int(file.read().split()[0]) * resource.getpagesize()
    except OSError:
        return 0


if __name__ == "__main__":
    main()
