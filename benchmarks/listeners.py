"""How many can listen at once: N simulated listeners, who come at random, on an engine of N slots.

A listener asks for a turn, plays it as it comes, in real time from the first chunk on, and asks
for another a while after it has been heard. It takes a chunk as soon as it is made, unless a
second (`AHEAD_S`) lies ahead of it already. What counts is when a chunk comes, against what is
left to play:

- gap: from one chunk to the next;
- late: how long after all that lay ahead had been played; this is the silence that is heard;
- underrun: a chunk that was late at all.

N is too many when the 99th percentile of `late` reaches one frame (80 ms), or anybody underran.
"""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from typing import Any

import torch

from benchmarks.audience import TURN_FRAMES, Heard, Listener, some_turn
from benchmarks.clock import percentile
from benchmarks.memory import free_memory
from benchmarks.options import Settings, new_parser, read_settings, whole_numbers
from benchmarks.report import Report
from benchmarks.subject import SEED, Subject
from fireredtts2.config import FRAME_RATE_HZ
from fireredtts2.engine.engine import Engine

DURATION_S, QUICK_DURATION_S = 15.0, 0.8
ARRIVAL_PART = 1 / 3  # of the duration, in which all have come
WARM_UP_FRAMES = 8
#: A step that took less found nothing to do: everybody's reader has enough.
IDLE_STEP_S = 0.000_5
MOST = {"cuda": 128, "cpu": 32}
FIRST = {"cuda": 16, "cpu": 1}
MAX_LATE_S = 1 / FRAME_RATE_HZ
#: The search ends when the answer is known to one part in so many.
RESOLUTION = 8
MS_PER_S = 1e3
COLUMNS = {
    "listeners": "d",
    "turns": "d",
    "first_p50_ms": ".0f",
    "first_p99_ms": ".0f",
    "gap_p50_ms": ".0f",
    "gap_p99_ms": ".0f",
    "late_p99_ms": ".1f",
    "late_max_ms": ".1f",
    "underruns": "d",
    "failed": "d",
    "busy": ".0%",
}


def warm_up(subject: Subject, engine: Engine, num_listeners: int, quick: bool) -> None:
    """Turns as fast as they can be made, for 1, 2, 4 ... and for all listeners.

    Voices are read, and CUDA graphs of all batch sizes captured: in a server that happens once.
    """
    chance = random.Random(SEED)
    sizes = [1 << n for n in range(num_listeners.bit_length()) if 1 << n < num_listeners]
    for size in [*sizes, num_listeners]:
        is_long = size == num_listeners and not quick
        requests = [some_turn(subject, engine, chance) for _ in range(size)]
        for request in requests:
            request.max_unread_s = None
            request.max_frames = TURN_FRAMES[1] if is_long else WARM_UP_FRAMES
            engine.add(request)
        while any(request.finish is None for request in requests):
            engine.step()


def simulate(
    subject: Subject, engine: Engine, num_listeners: int, duration_s: float, quick: bool
) -> dict[str, Any]:
    """A row of the report."""
    warm_up(subject, engine, num_listeners, quick)
    heard = Heard()
    listeners = [
        Listener(number, subject, engine, duration_s * ARRIVAL_PART, heard)
        for number in range(num_listeners)
    ]
    began, now_s, busy_s = time.perf_counter(), 0.0, 0.0
    while now_s < duration_s:
        for listener in listeners:
            listener.ask(now_s)
        before = time.perf_counter()
        engine.step()
        step_s = time.perf_counter() - before
        if step_s < IDLE_STEP_S:
            time.sleep(IDLE_STEP_S)
        else:
            busy_s += step_s
        now_s = time.perf_counter() - began
        for listener in listeners:
            listener.listen(now_s)
    for listener in listeners:
        listener.leave(now_s)
    turns = sum(listener.num_turns for listener in listeners)
    return {"listeners": num_listeners, "turns": turns, **figures(heard, now_s, busy_s)}


def figures(heard: Heard, wall_s: float, busy_s: float) -> dict[str, Any]:
    """What was heard, as fields of a row."""
    firsts, gaps, lates = (part or [0.0] for part in (heard.firsts, heard.gaps, heard.lates))
    underruns = sum(late > 0 for late in lates)
    late_p99_s = percentile(lates, 99)
    return {
        "first_p50_ms": percentile(firsts, 50) * MS_PER_S,
        "first_p99_ms": percentile(firsts, 99) * MS_PER_S,
        "gap_p50_ms": percentile(gaps, 50) * MS_PER_S,
        "gap_p99_ms": percentile(gaps, 99) * MS_PER_S,
        "late_p99_ms": late_p99_s * MS_PER_S,
        "late_max_ms": max(lates) * MS_PER_S,
        "underruns": underruns,
        "chunks": len(heard.gaps) + len(heard.firsts),
        "failed": heard.num_failed,
        "audio_s": heard.audio_s,
        "busy": busy_s / wall_s,
        "is_good": bool(heard.gaps)
        and late_p99_s < MAX_LATE_S
        and not underruns
        and not heard.num_failed,
    }


def next_number(good: int, bad: int | None, most: int) -> int | None:
    """How many to try next: twice as many until it fails, then between; None when it is known.

    Args:
        good: the most that were served well, or 0.
        bad: the fewest that were not, if any.
        most: that may be tried.
    """
    if bad is None:
        return min(2 * good, most) if good < most else None
    if bad - good <= max(1, good // RESOLUTION):
        return None
    return (good + bad) // 2


class Search:
    """Simulates numbers of listeners and remembers which were good."""

    def __init__(
        self, subject: Subject, report: Report, settings: Settings, duration_s: float
    ) -> None:
        self._subject, self._report, self._settings = subject, report, settings
        self._duration_s = duration_s
        self.good = 0
        self.bad: int | None = None

    def try_out(self, number: int) -> bool:
        """Whether there was time to try it; adds a row."""
        if self._settings.is_late:
            self._report.skip(f"{number} listeners: out of time")
            return False
        try:
            engine = self._subject.engine(number)
        except (ValueError, torch.OutOfMemoryError) as error:  # so many slots do not fit here
            self._report.skip(f"{number} listeners: {error}")
            self._judge(number, is_good=False)
            return True
        row = simulate(self._subject, engine, number, self._duration_s, self._settings.quick)
        self._judge(number, row["is_good"])
        self._report.add(**row)
        del engine
        free_memory(self._settings.device)
        return True

    def _judge(self, number: int, is_good: bool) -> None:
        if is_good:
            self.good = max(self.good, number)
        else:
            self.bad = min(number, self.bad or number)
        # As far as is known: whether it could be more, where nothing failed, is not.
        self._report.summary = {"largest": self.good, "smallest_failed": self.bad}


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measures and reports; returns the report."""
    parser = new_parser("listeners", __doc__)
    parser.add_argument("--listeners", type=whole_numbers, metavar="1,2,4", help="try just these")
    parser.add_argument("--most", type=int, help="how many at most in the search")
    parser.add_argument("--seconds", type=float, help=f"of each trial; {DURATION_S:g} by default")
    args = parser.parse_args(arguments)
    settings = read_settings(parser, args)
    few, kind = settings.quick, settings.device.type
    most = args.most or (2 if few else MOST.get(kind, 32))
    duration_s = args.seconds or (QUICK_DURATION_S if few else DURATION_S)
    report = Report("listeners", settings, COLUMNS, {"seconds": duration_s, "most": most})
    search = Search(Subject(settings), report, settings, duration_s)
    if args.listeners:
        all(search.try_out(number) for number in args.listeners)
    else:
        number: int | None = min(FIRST.get(kind, 1), most)
        while number is not None and search.try_out(number):
            number = next_number(search.good, search.bad, most)
    return report.finish()


if __name__ == "__main__":
    main()
