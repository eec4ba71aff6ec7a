"""What a listener beside the model costs those who hear streams: N readers, each of a conversation.

Every reader takes chunks as they come and hears them in real time from the first on. The same
conversations are spoken with single takes and with as many as the model asks for, in turn:

- first: from asking to the first audio;
- late: how long after all that lay ahead had been heard a chunk came; this is the silence heard;
- per_s: seconds that a second of speech took, from asking to its end, for each reader;
- times_single: that, beside single takes in the same round.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

from benchmarks.audience import Heard, Player
from benchmarks.clock import percentile
from benchmarks.options import Settings, new_parser, read_settings, whole_numbers
from benchmarks.report import Report
from fireredtts2 import FireRedTTS2
from fireredtts2.config import OUTPUT_RATE_HZ
from fireredtts2.script import ScriptTurn

LINES = (
    "Did you hear that the old bridge is going to be closed next week?",
    "I did, and I still have no idea how I will get to work.",
    "You could take the ferry. It leaves every half hour.",
    "The ferry? I get seasick when I look at a glass of water.",
    "Then you had better start walking, because the bus takes an hour.",
    "Perhaps it is time to ask whether I may work from home.",
)
READERS, QUICK_READERS = (1, 2, 4), (2,)
ROUNDS, QUICK_ROUNDS = 3, 1
QUICK_LIMIT_MS = 400.0  # of a turn
MS_PER_S = 1e3
COLUMNS = {
    "readers": "d",
    "takes": "d",
    "round": "d",
    "first_p50_ms": ".0f",
    "first_max_ms": ".0f",
    "late_max_ms": ".0f",
    "underruns": "d",
    "per_s": ".2f",
    "times_single": ".2f",
}


def hear(tts: FireRedTTS2, seed: int, takes: int, limit_ms: float, heard: Heard) -> None:
    """One reader: a conversation in random voices, heard as it comes."""
    turns = [ScriptTurn(f"S{1 + number % 2}", line) for number, line in enumerate(LINES)]
    player = Player(time.perf_counter(), heard)
    options: dict[str, Any] = {"on_runaway": "cut", "turn_limit_ms": limit_ms}
    for chunk in tts.stream_dialogue(turns, seed=seed, takes=takes, **options):
        if samples := len(chunk.audio):
            player.take(time.perf_counter(), samples / OUTPUT_RATE_HZ)


def together(tts: FireRedTTS2, seeds: Sequence[int], takes: int, limit_ms: float) -> dict[str, Any]:
    """As many readers as seeds at the same time; fields of a row."""
    heard = [Heard() for _ in seeds]
    readers = [
        threading.Thread(target=hear, args=(tts, seed, takes, limit_ms, ears))
        for seed, ears in zip(seeds, heard, strict=True)
    ]
    began = time.perf_counter()
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()
    wall_s = time.perf_counter() - began
    firsts = [first for ears in heard for first in ears.firsts]
    lates = [late for ears in heard for late in ears.lates]
    return {
        "first_p50_ms": percentile(firsts, 50) * MS_PER_S,
        "first_max_ms": max(firsts) * MS_PER_S,
        "late_max_ms": max(lates, default=0.0) * MS_PER_S,
        "underruns": sum(late > 0 for late in lates),
        "per_s": wall_s * len(seeds) / sum(ears.audio_s for ears in heard),
    }


def measure(tts: FireRedTTS2, report: Report, settings: Settings, readers: Sequence[int]) -> None:
    """Rows for all numbers of readers."""
    default = tts.studio.options({})
    limit_ms = QUICK_LIMIT_MS if settings.quick else default.turn_limit_ms
    together(tts, [0], 1, limit_ms)  # voices are read and the machine warms up
    for number in readers:
        for round_ in range(QUICK_ROUNDS if settings.quick else ROUNDS):
            if settings.is_late:
                report.skip(f"{number} readers, round {round_}: out of time")
                continue
            seeds = [100 * round_ + reader for reader in range(number)]
            single_s: float | None = None
            for takes in dict.fromkeys((1, default.takes)):
                row = together(tts, seeds, takes, limit_ms)
                single_s = single_s or row["per_s"]
                times_single = row["per_s"] / single_s
                report.add(
                    readers=number, takes=takes, round=round_, **row, times_single=times_single
                )


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measures and reports; returns the report."""
    parser = new_parser("judged_streams", __doc__)
    parser.add_argument("--readers", type=whole_numbers, metavar="1,2,4", help="at the same time")
    args = parser.parse_args(arguments)
    settings = read_settings(parser, args)
    if settings.init_random is not None:
        parser.error("--init-random: a listener needs a trained model")
    readers = args.readers or (QUICK_READERS if settings.quick else READERS)
    tts = FireRedTTS2(
        settings.model,
        device=str(settings.device),
        dtype=settings.kind,
        num_slots=max(readers),
        compile=settings.compiles,
    )
    report = Report("judged_streams", settings, COLUMNS, {"readers": list(readers)})
    measure(tts, report, settings, readers)
    judged = [row for row in report.rows if row["takes"] > 1]
    return report.finish(
        late_max_ms=max((row["late_max_ms"] for row in judged), default=0.0),
        underruns=sum(row["underruns"] for row in judged),
    )


if __name__ == "__main__":
    main()
