"""Clips that were uploaded, decoded in a process of their own (`decoder_process`)."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO

import numpy as np

from fireredtts2.audio_decoding import MAX_PROMPT_S
from fireredtts2.config import INPUT_RATE_HZ

PACKAGE_PARENT = str(Path(__file__).resolve().parents[2])
MODULE = "fireredtts2.serving.decoder_process"
MAX_AT_ONCE = 2
MAX_HEAD_BYTES = 4_096
#: A resampler may add a few samples at the end.
MAX_SAMPLES = int((MAX_PROMPT_S + 1) * INPUT_RATE_HZ)
MAX_ANSWER_BYTES = MAX_HEAD_BYTES + 4 * MAX_SAMPLES
ERROR_DAMAGED = "the clip could not be decoded: damaged, too large when unpacked, or not audio"


class DecodeError(ValueError):
    """A clip that is no voice prompt, with what is wrong with it."""


class UploadDecoder:
    """Decodes clips, a fresh process for each; one waits warm, since starting it takes a while.

    Args:
        timeout_s: how long a clip may take by the clock.
    """

    def __init__(self, timeout_s: float = 20.0) -> None:
        self._timeout_s = timeout_s
        self._turns = threading.BoundedSemaphore(MAX_AT_ONCE)
        self._lock = threading.Lock()
        self._spare: subprocess.Popen[bytes] | None = None
        self._is_closed = False

    def decode(self, clip: bytes) -> np.ndarray:
        """The clip as (samples,) float32 at 16 kHz, at most 40 s of it; call it in a thread.

        Raises:
            DecodeError: it is not such a clip, or could not be decoded within the limits.
        """
        with self._turns:
            process = self._take()
            try:
                answer = self._exchange(process, clip)
            finally:
                end(process)
                self.warm()
        return samples_of(answer)

    def warm(self) -> None:
        """Starts the process that the next clip will find ready."""
        with self._lock:
            if self._spare is None and not self._is_closed:
                self._spare = start()

    def close(self) -> None:
        """Ends the process that waits."""
        with self._lock:
            spare, self._spare, self._is_closed = self._spare, None, True
        if spare is not None:
            end(spare)

    def _take(self) -> subprocess.Popen[bytes]:
        with self._lock:
            spare, self._spare = self._spare, None
        if spare is not None and spare.poll() is None:
            return spare
        if spare is not None:
            end(spare)
        return start()

    def _exchange(self, process: subprocess.Popen[bytes], clip: bytes) -> bytes:
        assert process.stdin is not None
        assert process.stdout is not None
        alarm = threading.Timer(self._timeout_s, process.kill)
        feeder = threading.Thread(target=feed, args=(process.stdin, clip), daemon=True)
        alarm.start()
        feeder.start()
        try:
            # NOTE: bounded: what comes back is from a process that a clip may have taken over.
            return process.stdout.read(MAX_ANSWER_BYTES)
        finally:
            alarm.cancel()
            process.kill()
            feeder.join()


def start() -> subprocess.Popen[bytes]:
    """A decoder, in an environment without secrets."""
    kept = ("PATH", "LD_LIBRARY_PATH", "SYSTEMROOT", "VIRTUAL_ENV")
    inherited = {name: os.environ[name] for name in kept if name in os.environ}
    alone = {"PYTHONPATH": PACKAGE_PARENT, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", MODULE],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**inherited, **alone},
        cwd="/",
        start_new_session=True,  # Ctrl-C is for the server alone
    )


def feed(pipe: IO[bytes], clip: bytes) -> None:
    """Writes the clip, to a process that may have ended meanwhile."""
    with contextlib.suppress(OSError):
        pipe.write(clip)
    with contextlib.suppress(OSError):
        pipe.close()


def end(process: subprocess.Popen[bytes]) -> None:
    """Ends a process and closes its pipes."""
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()


def samples_of(answer: bytes) -> np.ndarray:
    """The samples of a decoder's answer, none of which is trusted.

    Raises:
        DecodeError: there are none.
    """
    line, _, data = answer.partition(b"\n")
    try:
        head = json.loads(line[:MAX_HEAD_BYTES])
        error, num_samples = head.get("error"), head.get("num_samples")
    except (ValueError, AttributeError, RecursionError):
        raise DecodeError(ERROR_DAMAGED) from None
    if error is not None:
        raise DecodeError(str(error)[:300])
    # NOTE: a damaged clip may decode to nothing at all without an error.
    if not isinstance(num_samples, int) or num_samples < 1 or len(data) != 4 * num_samples:
        raise DecodeError(ERROR_DAMAGED)
    audio = np.frombuffer(data, "<f4").copy()
    if num_samples > MAX_SAMPLES or not np.isfinite(audio).all():
        raise DecodeError(ERROR_DAMAGED)
    return audio
