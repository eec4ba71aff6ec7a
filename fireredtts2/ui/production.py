"""Makes what a work still lacks, turn after turn, while others look on."""

from __future__ import annotations

import copy
import logging
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from fireredtts2.ui.api_client import ApiClient
from fireredtts2.ui.errors import StudioError
from fireredtts2.ui.sound_file import GrowingSound, sound_path
from fireredtts2.ui.work import Sound, Turn, Work, sound_names
from fireredtts2.ui.work_file import save_work

logger = logging.getLogger(__name__)
State = Literal["idle", "making", "waiting", "stopped", "failed"]
NAME_BYTES = 8
MAX_TRIES = 3  # of a turn that breaks off
PATIENCE_S = 600.0  # with a server that is full
RETRIED = (0, 500, 502, 503, 504)
SESSION_IS_GONE = (404, 410)


@dataclass(frozen=True)
class Progress:
    """How it goes.

    Attributes:
        revision: grows with every change.
        state: what is done now.
        message: what went wrong, where something did.
        turn_id: of the turn that is spoken.
        num_samples: of it, so far.
        num_made: turns that sound as they are written.
        num_turns: all.
    """

    revision: int
    state: State
    message: str
    turn_id: int | None
    num_samples: int
    num_made: int
    num_turns: int


class Production:
    """One work, on disk, and the thread that makes it.

    Every public method may be called from any thread.

    Args:
        folder: of the work.
        work: what is in it.
    """

    def __init__(self, folder: Path, work: Work) -> None:
        self.folder, self.work = folder, work
        self.used_at = time.monotonic()
        self.lock = threading.RLock()
        self._revision = 1
        self._changes: dict[int, int] = {turn.id: 1 for turn in work.turns}
        self._state: State = "idle"
        self._message = ""
        self._growing: GrowingSound | None = None
        self._turn_id: int | None = None
        self._thread: threading.Thread | None = None
        self._stops = threading.Event()

    # --- What others see ------------------------------------------------------------------------

    @property
    def is_making(self) -> bool:
        """Whether a turn is being made, or waited for."""
        return self._state in ("making", "waiting")

    def progress(self) -> Progress:
        """How it goes."""
        with self.lock:
            growing = self._growing
            return Progress(
                self._revision,
                self._state,
                self._message,
                self._turn_id,
                0 if growing is None else growing.num_samples,
                sum(self.work.is_current(turn) for turn in self.work.turns),
                len(self.work.turns),
            )

    def changed_turns(self, since: int) -> list[Turn]:
        """Those that changed after a revision."""
        with self.lock:
            return [turn for turn in self.work.turns if self._changes.get(turn.id, 0) > since]

    def growing(self, name: str | None = None) -> GrowingSound | None:
        """The sound of the turn that is spoken, if it is the one of this name."""
        with self.lock:
            growing = self._growing
            return growing if growing is None or name in (None, growing.name) else None

    # --- What changes it ------------------------------------------------------------------------

    def change(self, edit: Callable[[Work], None]) -> None:
        """Changes the work, and keeps it.

        Raises:
            StudioError: as `edit`, or because something is being made; then nothing is changed.
            OSError: the disk is full; then what is on disk is as before.
        """
        with self.lock:
            if self.is_making:
                raise StudioError("it is being made: stop it first")
            changed = copy.deepcopy(self.work)
            edit(changed)
            save_work(changed, self.folder)
            before = {turn.id: turn for turn in self.work.turns}
            is_restyled = (changed.voices, changed.speed, changed.names) != (
                self.work.voices,
                self.work.speed,
                self.work.names,
            )
            self.work = changed
            self._revision += 1
            for turn in changed.turns:
                if is_restyled or before.get(turn.id) != turn:
                    self._changes[turn.id] = self._revision
            self._message = ""
            self._remove_unused()

    def start(self, client: ApiClient) -> None:
        """Begins to make what is lacking; nothing where nothing is.

        Args:
            client: of the user; closed at the end.

        Raises:
            StudioError: it is being made already, or somebody has no voice.
        """
        with self.lock:
            if self.is_making:
                raise StudioError("it is being made already")
            mute = [one for one in self.work.speakers if one not in self.work.voices]
            if mute:
                raise StudioError(f"{', '.join(mute)}: choose a voice")
            self._stops.clear()
            self._set("making")
            self._thread = threading.Thread(
                target=self._make, args=(client,), name="studio-production", daemon=True
            )
            self._thread.start()

    def stop(self) -> None:
        """Ends the making; what was finished stays."""
        self._stops.set()

    def join(self, timeout_s: float | None = None) -> None:
        """Waits until nothing is being made."""
        thread = self._thread
        if thread is not None:
            thread.join(timeout_s)

    # --- The thread -----------------------------------------------------------------------------

    def _make(self, client: ApiClient) -> None:
        session = _Session(client, self.work)
        try:
            while not self._stops.is_set():
                turn = self._next()
                if turn is None:
                    self._set("idle")
                    return
                self._make_turn(session, turn)
            self._set("stopped")
        except StudioError as error:
            self._set("failed", str(error))
        except OSError as error:
            self._set("failed", f"the studio's disk: {error.strerror or error}")
        except Exception:  # a thread that ends in silence leaves its user waiting
            logger.exception("a work could not be made")
            self._set("failed", "something went wrong in the studio; its log says what")
        finally:
            session.close()
            client.close()

    def _next(self) -> Turn | None:
        with self.lock:
            lacking = (turn for turn in self.work.turns if not self.work.is_current(turn))
            return next(lacking, None)

    def _make_turn(self, session: _Session, turn: Turn) -> None:
        """Speaks a turn; one that breaks off is begun anew, some times."""
        waits_until = time.monotonic() + PATIENCE_S
        tries = 0
        while not self._stops.is_set():
            try:
                self._speak(session, turn)
                return
            except StudioError as error:
                session.close()
                if error.status in (429, 409) and time.monotonic() < waits_until:
                    self._set("waiting", str(error))
                    self._stops.wait(min(error.retry_after_s, 10.0))
                    continue
                tries += error.status not in SESSION_IS_GONE or tries > 0
                if error.status not in RETRIED + SESSION_IS_GONE or tries >= MAX_TRIES:
                    raise
                logger.warning("a turn is begun anew: %s", error)
                self._stops.wait(0.5 * tries)

    def _speak(self, session: _Session, turn: Turn) -> None:
        voice, speed = self.work.voices[turn.speaker], self.work.speed
        growing = GrowingSound(self.folder, secrets.token_hex(NAME_BYTES))
        try:
            with session.speech(turn) as pieces:
                self._begin(turn, growing)
                for piece in pieces:
                    if self._stops.is_set():
                        return
                    growing.write(piece)
                    self._tell(turn)
            if growing.num_samples == 0:
                raise StudioError("the server sent no sound for a turn")
            growing.finish()
            self._keep(turn, Sound(growing.name, growing.num_samples, turn.text, voice, speed))
        finally:
            with self.lock:
                self._growing = self._turn_id = None
            if not sound_path(self.folder, growing.name).exists():
                growing.drop()
                self._tell(turn)

    def _begin(self, turn: Turn, growing: GrowingSound) -> None:
        with self.lock:
            self._growing, self._turn_id = growing, turn.id
            self._set("making")
            self._tell(turn)

    def _keep(self, turn: Turn, sound: Sound) -> None:
        with self.lock:
            self.work.put(replace(self.work.turn(turn.id), sound=sound))
            save_work(self.work, self.folder)
            self._growing = self._turn_id = None
            self._remove_unused()
            self._tell(turn)

    # --- Bookkeeping ----------------------------------------------------------------------------

    def _set(self, state: State, message: str = "") -> None:
        with self.lock:
            if (state, message) != (self._state, self._message):
                self._state, self._message = state, message
                self._revision += 1

    def _tell(self, turn: Turn) -> None:
        with self.lock:
            self._revision += 1
            self._changes[turn.id] = self._revision

    def _remove_unused(self) -> None:
        """Removes sound that no turn has any more."""
        used = {sound_path(self.folder, name) for name in sound_names(self.work.turns)}
        for path in self.folder.glob("*.pcm"):
            if path not in used:
                path.unlink(missing_ok=True)


class _Session:
    """The server's memory of the conversation; a turn with a seed of its own has one for itself."""

    def __init__(self, client: ApiClient, work: Work) -> None:
        self._client, self._work = client, work
        self._id: str | None = None
        self._seed: int | None = None

    def speech(self, turn: Turn) -> AbstractContextManager[Iterator[bytes]]:
        """A turn as it is spoken; errors as the client's."""
        seed = self._work.seed if turn.seed is None else turn.seed
        if self._id is not None and seed != self._seed:
            self.close()
        if self._id is None:
            cast = {one: self._work.voices[one] for one in self._work.speakers}
            self._id, self._seed = self._client.open_session(cast, seed), seed
        return self._client.speech(
            {
                "input": turn.text,
                "session_id": self._id,
                "speaker": turn.speaker,
                "speed": self._work.speed,
            }
        )

    def close(self) -> None:
        """Forgets the conversation; the next turn begins another."""
        if self._id is not None:
            self._client.close_session(self._id)
            self._id = None
