"""Simulated listeners: they ask for turns, play them in real time, and note their waits."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from benchmarks.subject import SEED, TEXTS, Subject
from fireredtts2.config import OUTPUT_RATE_HZ
from fireredtts2.engine.engine import Engine
from fireredtts2.engine.request import FinishReason, Request

AHEAD_S = 1.0
TURN_FRAMES = (30, 75)  # 2.4 to 6 s; a trained model ends its turns earlier
PAUSE_S = (0.2, 1.5)


@dataclass
class Heard:
    """What came to the ears of all listeners, in seconds."""

    firsts: list[float] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)
    lates: list[float] = field(default_factory=list)
    audio_s: float = 0.0
    num_failed: int = 0


class Player:
    """Plays a turn in real time, from its first chunk on.

    Args:
        asked_s: when the turn was asked for.
        heard: where to note what came.
    """

    def __init__(self, asked_s: float, heard: Heard) -> None:
        self._asked_s, self._heard = asked_s, heard
        self._last_s: float | None = None
        self.dry_s = asked_s  # when all that came will have been played

    def ahead_s(self, now_s: float) -> float:
        """Audio that is still to be played."""
        return max(0.0, self.dry_s - now_s)

    def take(self, now_s: float, seconds: float) -> None:
        """A chunk has come."""
        if self._last_s is None:
            self._heard.firsts.append(now_s - self._asked_s)
        else:
            self._heard.gaps.append(now_s - self._last_s)
            self._heard.lates.append(max(0.0, now_s - self.dry_s))
        self._last_s = now_s
        self._heard.audio_s += seconds
        self.dry_s = max(now_s, self.dry_s) + seconds

    def break_off(self, now_s: float) -> None:
        """The measurement ends while more was to come: a wait counts as far as it has gone."""
        if self._last_s is None:
            self._heard.firsts.append(now_s - self._asked_s)
        elif now_s > self.dry_s:
            self._heard.lates.append(now_s - self.dry_s)


class Listener:
    """Asks for turns, one after the other.

    Args:
        number: makes this one's random numbers.
        subject: what speaks.
        engine: serves it.
        arrival_s: when all listeners have come.
        heard: where to note what came.
    """

    def __init__(
        self, number: int, subject: Subject, engine: Engine, arrival_s: float, heard: Heard
    ) -> None:
        self._number, self._subject, self._engine, self._heard = number, subject, engine, heard
        self._random = random.Random(SEED * 1_000 + number)
        self._next_s = self._random.uniform(0.0, arrival_s)
        self._request: Request | None = None
        self._player = Player(0.0, heard)
        self.num_turns = 0

    def ask(self, now_s: float) -> None:
        """Asks for the next turn if it is time."""
        if self._request is not None or now_s < self._next_s:
            return
        self._request = some_turn(self._subject, self._engine, self._random)
        # A listener that could not ask in time, because a step went on, has waited since.
        self._player = Player(self._next_s, self._heard)
        self._engine.add(self._request)

    def listen(self, now_s: float) -> None:
        """Takes what has been made, as far as there is need of it."""
        request = self._request
        if request is None:
            return
        while request.chunks and self._player.ahead_s(now_s) < AHEAD_S:
            if samples := len(request.chunks.popleft()):
                self._player.take(now_s, samples / OUTPUT_RATE_HZ)
        if request.finish is not None and not request.chunks:
            self._heard.num_failed += request.finish is FinishReason.FAILED
            self.num_turns += 1
            self._request = None
            self._next_s = max(now_s, self._player.dry_s) + self._random.uniform(*PAUSE_S)

    def leave(self, now_s: float) -> None:
        """The measurement is over."""
        if self._request is not None:
            if self._request.finish is None and not self._request.chunks:
                self._player.break_off(now_s)
            self._engine.cancel(self._request)


def some_turn(subject: Subject, engine: Engine, chance: random.Random) -> Request:
    """A turn in one of the voices."""
    voice, text = chance.choice(subject.voices), chance.choice(TEXTS)
    max_frames = chance.randint(*TURN_FRAMES)
    seed = chance.randrange(2**32)
    return subject.turn(engine, voice, subject.prepared(text), seed, max_frames, AHEAD_S)
