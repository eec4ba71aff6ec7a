"""Measures speed and memory in a process of its own; prints one JSON object.

    python fireredtts2/evaluation/speed_probe.py MODEL REQUEST.json

Run as a file, so that nothing is imported before the clock starts.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

KIB_PER_MB = 1_000_000 / 1_024


def use_cores(count: int) -> int:
    """Keeps the process to `count` cores where the system can; returns how many it has."""
    if not hasattr(os, "sched_setaffinity"):
        return os.cpu_count() or 1
    cores = sorted(os.sched_getaffinity(0))[:count]
    os.sched_setaffinity(0, cores)
    return len(cores)


def peak_memory_mb() -> float:
    """The most memory this process ever held, in MB (1e6 bytes).

    NOTE: On Linux from /proc, because `ru_maxrss` starts at the parent's size.
    """
    status = Path("/proc/self/status")
    if status.is_file():
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM:"))
        return int(line.split()[1]) / KIB_PER_MB
    import resource  # not on every system

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1e6 if sys.platform == "darwin" else peak / KIB_PER_MB


def time_stream(
    tts: Any, script: list[str], voices: dict[str, str], options: dict[str, Any]
) -> dict[str, Any]:
    """Streams a dialogue: seconds until the first sound, until the end, and of audio.

    A turn that the model gives up on ends the stream; what came before it was still timed.
    """
    from fireredtts2.narration.errors import SpeechError

    first_s, samples, rate_hz, error = None, 0, 1, ""
    start = time.perf_counter()
    try:
        for chunk in tts.stream_dialogue(script, voices, **options):
            if not samples and len(chunk.audio):
                first_s = time.perf_counter() - start
            samples += len(chunk.audio)
            rate_hz = chunk.sample_rate
    except SpeechError as failure:
        error = str(failure)
    wall_s = time.perf_counter() - start
    audio_s = samples / rate_hz
    return {"first_audio_s": first_s, "wall_s": wall_s, "audio_s": audio_s, "error": error}


def measure(model: str, request: dict[str, Any]) -> dict[str, Any]:
    """Imports, loads, then speaks the request's scripts one after the other."""
    cores = use_cores(request["cores"])
    start = time.perf_counter()
    from fireredtts2.fireredtts2 import FireRedTTS2

    imported = time.perf_counter()
    tts = FireRedTTS2(model, device=request["device"])
    loaded = time.perf_counter()
    loaded_mb = peak_memory_mb()
    runs = [time_stream(tts, r["script"], r["voices"], r["options"]) for r in request["runs"]]
    return {
        "cores": cores,
        "import_s": imported - start,
        "load_s": loaded - imported,
        "loaded_memory_mb": loaded_mb,
        "peak_memory_mb": peak_memory_mb(),
        "runs": runs,
    }


if __name__ == "__main__":
    # The script's own folder would let its neighbours stand in for packages of the same name.
    sys.path[0] = str(Path(__file__).resolve().parents[2])
    request = json.loads(Path(sys.argv[2]).read_text("utf-8"))
    sys.stdout.write(json.dumps(measure(sys.argv[1], request)) + "\n")
