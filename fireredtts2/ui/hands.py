"""What happens when somebody touches the page."""

from __future__ import annotations

import functools
import io
import json
import logging
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import gradio as gr
import numpy as np
import soundfile

from fireredtts2.config import OUTPUT_RATE_HZ
from fireredtts2.script import MAX_PAUSE_S, SPEAKERS, parse_script, read_script
from fireredtts2.ui.api_client import ApiClient
from fireredtts2.ui.desk import Desk
from fireredtts2.ui.door import COOKIE, key_in
from fireredtts2.ui.errors import StudioError
from fireredtts2.ui.exports import MAX_PROJECT_BYTES, read_project
from fireredtts2.ui.production import Production
from fireredtts2.ui.words import Words
from fireredtts2.ui.work import MAX_SPEED, MIN_SPEED, Turn, Work

logger = logging.getLogger(__name__)
#: Who speaks where nobody was chosen; other voices of the server where it lacks these.
PREFERRED = ("af_heart", "am_michael", "bf_emma", "bm_george")
STOP_S = 5.0
SEED_BITS = 31
MAX_INVENTED_S = 30
P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Form:
    """What is written on the page.

    Attributes:
        script: as it was typed.
        cast: a voice for each of S1 to S4.
        seed: of the conversation; None for any.
        speed: 1 as the voices speak.
        gap_s: silence between turns.
        title: for people.
    """

    script: str
    cast: tuple[str | None, ...]
    seed: float | None
    speed: float
    gap_s: float
    title: str


@dataclass(frozen=True)
class Edit:
    """What is written in the fields of a turn."""

    text: str
    speaker: str
    pause_s: float


def told(call: Callable[P, R]) -> Callable[P, R]:
    """What goes wrong is said on the page."""

    @functools.wraps(call)
    def safe(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return call(*args, **kwargs)
        except (StudioError, ValueError) as error:
            raise gr.Error(str(error), duration=15, print_exception=False) from None
        except OSError as error:
            logger.warning("%s: %s", call.__name__, error)
            message = f"the studio's disk: {error.strerror or error}"
            raise gr.Error(message, duration=15, print_exception=False) from None

    return safe


class Hands:
    """The page's events. Whose they are comes with each; nothing is remembered here.

    Args:
        desk: of the works.
        address: of the server.
        words: of the page.
    """

    def __init__(self, desk: Desk, address: str, words: Words) -> None:
        self.desk, self.address, self.words = desk, address, words

    # --- Works ----------------------------------------------------------------------------------

    def found(self, token: str) -> tuple[str, Production] | None:
        """A work that this browser had before; None if it is gone."""
        try:
            return token, self.desk.get(token or "")
        except StudioError:
            return None

    @told
    def make(self, token: str, form: Form, request: gr.Request) -> tuple[str, str]:
        """Takes the script and makes what is lacking: the work's name, and the player's value."""
        if not form.script.strip():
            raise StudioError(self.words.nothing_to_say)
        script = parse_script(form.script)
        cast = {one: voice for one, voice in zip(SPEAKERS, form.cast, strict=True) if voice}
        lacking = [one for one in dict.fromkeys(t.speaker for t in script) if one not in cast]
        if lacking:
            raise StudioError(self.words.choose_voice.format(", ".join(lacking)))
        token, made = self.found(token) or self.desk.new()
        self._still(made)

        def edit(work: Work) -> None:
            work.take_script(form.script, script)
            work.voices, work.title = cast, form.title[:200]
            work.speed = _within("speed", form.speed, MIN_SPEED, MAX_SPEED)
            work.gap_s = _within("silence between turns", form.gap_s, 0, MAX_PAUSE_S)
            if form.seed is not None and work.seed != int(form.seed):
                work.seed = _seed(form.seed)
                work.turns = [replace(turn, sound=None, seed=None) for turn in work.turns]

        made.change(edit)
        self._start(made, request)
        return token, player_value(token, play=True)

    @told
    def stop(self, token: str) -> None:
        """Ends the making; what was finished stays."""
        if found := self.found(token):
            found[1].stop()

    @told
    def turn(self, token: str, id: int) -> Turn:
        """A turn that was touched."""
        return self.desk.get(token).work.turn(int(id))

    @told
    def keep(self, token: str, id: int, edit: Edit) -> tuple[str, str]:
        """Changes a turn; it is spoken later: the script, and the player's value."""
        made = self.desk.get(token)
        self._still(made)
        made.change(lambda work: _rewrite(work, id, edit, seed=None))
        return made.work.script, player_value(token)

    @told
    def again(self, token: str, id: int, edit: Edit, request: gr.Request) -> tuple[str, str]:
        """Has a turn spoken anew, in another way: the script, and the player's value."""
        made = self.desk.get(token)
        self._still(made)
        seed = secrets.randbits(SEED_BITS)
        made.change(lambda work: _rewrite(work, id, edit, seed))
        self._start(made, request)
        return made.work.script, player_value(token, play=True, turn_id=int(id))

    @told
    def delete(self, token: str, id: int) -> tuple[str, str]:
        """Takes a turn out: the script, and the player's value."""
        made = self.desk.get(token)
        self._still(made)

        def edit(work: Work) -> None:
            del work.turns[work.place(int(id))]
            work.script = work.written()

        made.change(edit)
        return made.work.script, player_value(token)

    @told
    def open_project(self, path: str) -> tuple[str, Production]:
        """A work from a project file."""
        if Path(path).stat().st_size > MAX_PROJECT_BYTES:
            raise StudioError(f"a project of more than {MAX_PROJECT_BYTES // 1_000_000} MB")
        with tempfile.TemporaryDirectory(prefix="fireredtts2_studio_") as name:
            work = read_project(Path(path), Path(name))
            token, made = self.desk.new(work)
            try:
                for sound in Path(name).glob("*.pcm"):
                    shutil.move(sound, made.folder / sound.name)
            except OSError:
                self.desk.delete(token)
                raise
        return token, made

    @told
    def open_script(self, path: str) -> str:
        """The text of a script file, which must be right."""
        try:
            read_script(path)
        except ValueError as error:
            # Where the file lies here means nothing to its user.
            raise ValueError(str(error).replace(path, Path(path).name)) from None
        return Path(path).read_text(encoding="utf-8-sig")

    # --- Voices ---------------------------------------------------------------------------------

    @told
    def voices(self, request: gr.Request) -> list[dict[str, Any]]:
        """Those that can be used."""
        with self._client(request) as client:
            return [voice for voice in client.voices() if "error" not in voice]

    @told
    def listen(self, name: str | None, request: gr.Request) -> tuple[int, np.ndarray]:
        """How a voice sounds: rate and samples."""
        if not name:
            raise StudioError(self.words.choose_voice.format(self.words.library))
        with self._client(request) as client:
            samples, rate_hz = soundfile.read(io.BytesIO(client.voice_audio(name)), dtype="int16")
        return rate_hz, samples

    @told
    def add_voice(
        self, clip: str | None, name: str, text: str, request: gr.Request, adapt: bool = False
    ) -> str:
        """Makes a voice of a clip, which the decoder may be adapted to; returns its name."""
        if not clip or not name.strip() or not text.strip():
            raise StudioError(self.words.choose_clip)
        with self._client(request) as client:
            made = client.add_voice(name.strip(), text.strip(), Path(clip), adapt=adapt)
        return str(made["name"])

    @told
    def remove_voice(self, name: str | None, request: gr.Request) -> str:
        """Deletes a voice that was added; returns its name."""
        with self._client(request) as client:
            known = {voice["name"]: voice for voice in client.voices()}
            if name not in known:
                raise StudioError(self.words.choose_voice.format(self.words.library))
            if not known[name]["removable"]:
                raise StudioError(self.words.not_removable.format(name))
            client.delete_voice(str(name))
        return str(name)

    @told
    def invent(self, request: gr.Request) -> tuple[int, np.ndarray]:
        """A sentence in a voice that there was not before: its seed, and samples at 24 kHz."""
        seed = secrets.randbits(SEED_BITS)
        asked = {"input": self.words.invent_text, "seed": seed}
        limit = MAX_INVENTED_S * OUTPUT_RATE_HZ * 2
        data = bytearray()
        with self._client(request) as client, client.speech(asked) as pieces:
            for piece in pieces:
                data += piece
                if len(data) > limit:
                    break
        return seed, np.frombuffer(bytes(data[: len(data) // 2 * 2]), "<i2").astype(np.int16)

    @told
    def keep_invented(self, samples: np.ndarray | None, name: str, request: gr.Request) -> str:
        """Makes a voice of what `invent` gave; returns its name."""
        if samples is None or not len(samples) or not name.strip():
            raise StudioError(self.words.choose_clip)
        with tempfile.TemporaryDirectory(prefix="fireredtts2_studio_") as folder:
            clip = Path(folder) / "voice.wav"
            soundfile.write(clip, samples, OUTPUT_RATE_HZ, "PCM_16")
            return self.add_voice(str(clip), name, self.words.invent_text, request)

    # --- What they need -------------------------------------------------------------------------

    def _still(self, made: Production) -> None:
        """Ends what is being made, so that it can be changed."""
        made.stop()
        made.join(STOP_S)

    def _start(self, made: Production, request: gr.Request) -> None:
        self.desk.check_making()
        made.start(self._new_client(request))

    @contextmanager
    def _client(self, request: gr.Request) -> Iterator[ApiClient]:
        client = self._new_client(request)
        try:
            yield client
        finally:
            client.close()

    def _new_client(self, request: gr.Request) -> ApiClient:
        host = request.client.host if request.client else ""
        return ApiClient(self.address, key_in(request.cookies.get(COOKIE, "")), host)


def player_value(token: str, play: bool = False, turn_id: int | None = None) -> str:
    """What the player is told; every one is another, so that it listens."""
    value: Mapping[str, Any] = {
        "token": token,
        "play": play,
        "turn_id": turn_id,
        "n": secrets.randbits(SEED_BITS),
    }
    return json.dumps(value)


def default_cast(names: Sequence[str]) -> list[str | None]:
    """A voice for each of S1 to S4, different ones as far as there are."""
    if not names:
        return [None] * len(SPEAKERS)
    chosen = [name for name in PREFERRED if name in names]
    chosen += [name for name in names if name not in chosen]
    return [chosen[n % len(chosen)] for n in range(len(SPEAKERS))]


def _rewrite(work: Work, id: int, edit: Edit, seed: int | None) -> None:
    """Puts an edit into a turn; with a seed its sound goes."""
    script = parse_script(json.dumps([{"speaker": edit.speaker, "text": edit.text}]), "json")
    if len(script) != 1 or script[0].pause_s:
        raise StudioError("one turn at a time: no pauses and no other speakers in its text")
    turn = work.turn(int(id))
    pause_s = _within("silence before", edit.pause_s or 0.0, 0, MAX_PAUSE_S)
    turn = replace(turn, speaker=edit.speaker, text=script[0].text, pause_s=pause_s)
    if seed is not None:
        turn = replace(turn, seed=seed, sound=None)
    work.put(turn)
    work.script = work.written()


def _within(name: str, value: float, lowest: float, highest: float) -> float:
    # NOTE: written so that NaN fails it.
    if not lowest <= value <= highest:
        raise StudioError(f"{name} {value:g}: allowed are {lowest:g} to {highest:g}")
    return float(value)


def _seed(value: float) -> int:
    if not 0 <= value < 2**63 or value != int(value):
        raise StudioError(f"seed {value:g}: must be a whole number, 0 or more")
    return int(value)
