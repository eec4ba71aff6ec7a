"""A long dialogue: does a minute of audio cost the same at the end as at the beginning?

Two voices speak in turn, as fast as the engine can; turns stay in the context window, and the
oldest go when it is full. For every minute of audio: seconds of computing, the longest wait for a
turn's first sound (a slide of the window falls into one), rows read beside the frames, memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from statistics import mean
from typing import Any

from benchmarks.clock import now
from benchmarks.memory import device_mb, process_mb
from benchmarks.options import Settings, new_parser, read_settings
from benchmarks.report import Report
from benchmarks.subject import TEXTS, Subject
from fireredtts2.config import OUTPUT_RATE_HZ
from fireredtts2.narration.conversation import Spoken

MINUTES, QUICK_MINUTES = 60.0, 0.2
QUICK_MINUTE_S = 2.0
MINUTE_S = 60.0
TURN_FRAMES = 75  # 6 s at most
QUICK_TURN_FRAMES = 6
#: Flat is what differs by no more between the last third and the first.
FLAT_PERCENT = 10.0
MIN_SETTLED_MINUTES = 3
MS_PER_S = 1e3
COLUMNS = {
    "minute": "d",
    "turns": "d",
    "slides": "d",
    "cost": ".4f",
    "first_max_ms": ".0f",
    "rows_read": "d",
    "process_mb": ".0f",
    "device_mb": ".0f",
}


@dataclass
class Minute:
    """What one minute of audio took."""

    audio_s: float = 0.0
    compute_s: float = 0.0
    first_max_s: float = 0.0
    turns: int = 0
    slides: int = 0
    rows_read: int = 0


class Dialogue:
    """Two voices in turn, on an engine with one slot.

    Args:
        subject: what speaks.
        turn_frames: a turn's limit.
    """

    def __init__(self, subject: Subject, turn_frames: int) -> None:
        self._subject, self._turn_frames = subject, turn_frames
        self._engine = subject.engine(1)
        first, second = subject.voices[0], subject.voices[1 % len(subject.voices)]
        voices = [first, replace(second, speaker="S2")]
        self._conversation = subject.conversation(self._engine, voices)
        self._number = 0

    def speak(self, minute: Minute) -> None:
        """Adds a turn to a minute."""
        speaker = ("S1", "S2")[self._number % 2]
        begin = now(self._subject.device)
        rows_before = self._engine.model_runner.num_prefilled_rows
        turns_before = self._conversation.num_turns
        text = self._subject.prepared(TEXTS[self._number % len(TEXTS)])
        request = self._subject.request(
            self._conversation, speaker, text, self._number, self._turn_frames
        )
        minute.slides += self._conversation.num_turns < turns_before
        heard = 0
        with closing(self._engine.stream(request)) as chunks:
            for chunk in chunks:
                if len(chunk) and not heard:
                    waited = now(self._subject.device) - begin
                    minute.first_max_s = max(minute.first_max_s, waited)
                heard += len(chunk)
        if request.frames:  # a small model may end a turn before it says anything
            self._conversation.add(Spoken(speaker, text, request.codes))
        minute.compute_s += now(self._subject.device) - begin
        minute.audio_s += heard / OUTPUT_RATE_HZ
        minute.turns += 1
        minute.rows_read += self._engine.model_runner.num_prefilled_rows - rows_before
        self._number += 1


def flatness(rows: Sequence[dict[str, Any]], field: str) -> dict[str, Any]:
    """A field's mean over the first and the last third of the settled minutes, and their change.

    Minutes until the window first slid are left out, for what they attend to still grows, unless
    too few would remain.
    """
    begin = next((n + 1 for n, row in enumerate(rows) if row["slides"]), 0)
    if len(rows) - begin < MIN_SETTLED_MINUTES:
        begin = 0
    settled = [row[field] for row in rows[begin:]]
    third = max(1, len(settled) // 3)
    first, last = mean(settled[:third]), mean(settled[-third:])
    change = (last / first - 1) * 100 if first else 0.0
    return {
        "from_minute": begin + 1,
        "first_third": first,
        "last_third": last,
        "change_percent": change,
        # Less at the end is no fault; of fewer than three minutes nothing can be said.
        "is_flat": change <= FLAT_PERCENT if len(settled) >= MIN_SETTLED_MINUTES else None,
    }


def measure(dialogue: Dialogue, num_minutes: float, report: Report, settings: Settings) -> None:
    """A row for every minute; in the quick form a minute is two seconds."""
    minute_s = QUICK_MINUTE_S if settings.quick else MINUTE_S
    for number in range(1, max(1, round(num_minutes * MINUTE_S / minute_s)) + 1):
        minute = Minute()
        while minute.audio_s < minute_s and not settings.is_late:
            dialogue.speak(minute)
        if minute.audio_s < minute_s:
            report.skip(f"from minute {number} on: out of time")
            return
        report.add(
            minute=number,
            turns=minute.turns,
            slides=minute.slides,
            cost=minute.compute_s / minute.audio_s,
            first_max_ms=minute.first_max_s * MS_PER_S,
            rows_read=minute.rows_read,
            audio_s=minute.audio_s,
            process_mb=process_mb(),
            device_mb=device_mb(settings.device),
        )


def main(arguments: Sequence[str] | None = None) -> dict[str, Any]:
    """Measures and reports; returns the report."""
    parser = new_parser("long", __doc__)
    parser.add_argument("--minutes", type=float, help=f"of audio; {MINUTES:g} by default")
    args = parser.parse_args(arguments)
    settings = read_settings(parser, args)
    num_minutes = args.minutes or (QUICK_MINUTES if settings.quick else MINUTES)
    report = Report("long", settings, COLUMNS, {"minutes": num_minutes})
    turn_frames = QUICK_TURN_FRAMES if settings.quick else TURN_FRAMES
    dialogue = Dialogue(Subject(settings), turn_frames)
    dialogue.speak(Minute())  # the first call sets things up
    measure(dialogue, num_minutes, report, settings)
    if not report.rows:
        return report.finish()
    fields = ["cost", "process_mb"]
    if report.rows[0]["device_mb"] is not None:
        fields.append("device_mb")
    return report.finish(**{name: flatness(report.rows, name) for name in fields})


if __name__ == "__main__":
    main()
