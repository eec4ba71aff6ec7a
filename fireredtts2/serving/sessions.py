"""Conversations that last from one request to the next: their voices, and what was said."""

from __future__ import annotations

import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from fireredtts2.narration.exchange import BusyError, Exchange
from fireredtts2.script import SPEAKERS
from fireredtts2.serving.errors import ApiError

ID_BYTES = 12
#: Sessions that have ended and are remembered, to tell one that is gone from one that never was.
MAX_REMEMBERED = 10_000


@dataclass(frozen=True)
class SessionLimits:
    """How many sessions there may be, and for how long.

    Attributes:
        max_sessions: at once; the one unused for longest goes for a new one. A session takes about
            half a megabyte when its window is full.
        ttl_s: how long an unused one is kept.
    """

    max_sessions: int = 500
    ttl_s: float = 1_800.0

    def __post_init__(self) -> None:
        if self.max_sessions < 1 or not self.ttl_s > 0:
            raise ValueError(
                f"max_sessions {self.max_sessions} and ttl_s {self.ttl_s}: both must be above 0"
            )


@dataclass
class Session:
    """One conversation.

    Attributes:
        id: what requests name it by.
        owner: the client it belongs to.
        exchange: what was said.
        voices: names by speaker.
        cast: speakers by the names that scripts gave them.
        created_at: seconds since 1970.
        used_at: on the clock of `Sessions`.
        is_held: whether a dialogue has it, between its turns too.
    """

    id: str
    owner: str
    exchange: Exchange
    voices: dict[str, str] = field(default_factory=dict)
    cast: dict[str, str] = field(default_factory=dict)
    created_at: float = field(default_factory=time.time)
    used_at: float = 0.0
    is_held: bool = False

    @property
    def is_busy(self) -> bool:
        """Whether somebody speaks in it."""
        return self.is_held or self.exchange.is_busy

    def speaker_of(self, voice: str) -> str | None:
        """Who has this voice."""
        return next((one for one, name in self.voices.items() if name == voice), None)

    def next_speaker(self) -> str:
        """Who has none yet.

        Raises:
            ApiError: all have one.
        """
        free = [speaker for speaker in SPEAKERS if speaker not in self.voices]
        if not free:
            taken = ", ".join(f"{one}: {name}" for one, name in self.voices.items())
            raise ApiError(400, f"a session has {len(SPEAKERS)} voices at most; it has {taken}",
                           param="voice")  # fmt: skip
        return free[0]

    def about(self) -> dict[str, object]:
        """For the client."""
        return {
            "id": self.id,
            "object": "session",
            "created": int(self.created_at),
            "voices": dict(self.voices),
            "rows": self.exchange.num_rows,
            "busy": self.is_busy,
        }


class Sessions:
    """All sessions of a server.

    Args:
        limits: how many, and for how long.
        clock: seconds.
    """

    def __init__(self, limits: SessionLimits, clock: Callable[[], float] = time.monotonic) -> None:
        self._limits, self._clock = limits, clock
        self._sessions: OrderedDict[str, Session] = OrderedDict()  # the longest unused first
        self._gone: OrderedDict[str, str] = OrderedDict()  # owners, by id
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._sessions)

    def add(self, owner: str, exchange: Exchange, voices: dict[str, str]) -> Session:
        """A new session; the longest unused one goes where there are too many.

        Raises:
            ApiError: all are being spoken.
        """
        with self._lock:
            self._sweep()
            if len(self._sessions) >= self._limits.max_sessions:
                idle = [one for one in self._sessions.values() if not one.is_busy]
                if not idle:
                    raise ApiError(429, "all sessions are being spoken", "rate_limit_error",
                                   "too_many_sessions")  # fmt: skip
                self._forget(idle[0])
            session = Session(secrets.token_urlsafe(ID_BYTES), owner, exchange, voices)
            session.used_at = self._clock()
            self._sessions[session.id] = session
            return session

    def get(self, owner: str, id: str) -> Session:
        """A session of this client's, to speak in it now.

        Raises:
            ApiError: 410 where it has expired, 404 where there is none; somebody else's is as none.
            BusyError: a dialogue has it.
        """
        session = self.look(owner, id)
        if session.is_held:
            raise BusyError("this conversation is being spoken already: one stream at a time")
        return session

    def look(self, owner: str, id: str) -> Session:
        """As `get`, whoever speaks in it."""
        with self._lock:
            self._sweep()
            session = self._sessions.get(id)
            if session is None or session.owner != owner:
                raise self._missing(owner, id)
            self._use(session)
            return session

    @contextmanager
    def held(self, session: Session) -> Iterator[None]:
        """Keeps others out, also between two streams of its exchange.

        Raises:
            BusyError: a dialogue has it.
        """
        with self._lock:
            if session.is_held:
                raise BusyError("this conversation is being spoken already: one stream at a time")
            session.is_held = True
        try:
            yield
        finally:
            with self._lock:
                session.is_held = False
                if session.id in self._sessions:
                    self._use(session)  # it has been used until now

    def delete(self, owner: str, id: str) -> None:
        """Ends a session; raises as `look`."""
        session = self.look(owner, id)
        with self._lock:
            self._sessions.pop(session.id, None)

    def find(self, owner: str) -> list[Session]:
        """This client's sessions."""
        with self._lock:
            self._sweep()
            return [one for one in self._sessions.values() if one.owner == owner]

    def _use(self, session: Session) -> None:
        session.used_at = self._clock()
        self._sessions.move_to_end(session.id)

    def _missing(self, owner: str, id: str) -> ApiError:
        if self._gone.get(id) == owner:
            return ApiError(410, f"session {id[:40]!r} has expired: make a new one with POST "
                            "/v1/sessions", code="session_expired", param="session_id")  # fmt: skip
        return ApiError(404, f"no session {id[:40]!r}: make one with POST /v1/sessions",
                        code="session_not_found", param="session_id")  # fmt: skip

    def _sweep(self) -> None:
        ends_at = self._clock() - self._limits.ttl_s
        for session in list(self._sessions.values()):
            if session.used_at > ends_at:
                return
            if not session.is_busy:
                self._forget(session)

    def _forget(self, session: Session) -> None:
        del self._sessions[session.id]
        self._gone[session.id] = session.owner
        if len(self._gone) > MAX_REMEMBERED:
            self._gone.popitem(last=False)
