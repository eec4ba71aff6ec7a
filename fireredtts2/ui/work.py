"""What a user makes: the turns of a conversation, their voices, and the sound there is so far."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from fireredtts2.config import OUTPUT_RATE_HZ
from fireredtts2.script import SPEAKERS, Script
from fireredtts2.ui.errors import StudioError

MAX_TURNS = 5_000
MAX_TURN_CHARACTERS = 20_000
MAX_TITLE_CHARACTERS = 200
MIN_SPEED, MAX_SPEED = 0.5, 2.0


@dataclass(frozen=True)
class Sound:
    """How a turn was spoken.

    Attributes:
        name: of its file in the folder of the work.
        num_samples: at 24 kHz.
        text: what was said.
        voice: who said it.
        speed: how fast.
    """

    name: str
    num_samples: int
    text: str
    voice: str
    speed: float = 1.0

    @property
    def seconds(self) -> float:
        return self.num_samples / OUTPUT_RATE_HZ


@dataclass(frozen=True)
class Turn:
    """One turn.

    Attributes:
        id: of its own in the work; never used again.
        speaker: "S1" to "S4".
        text: what is to be said.
        pause_s: silence before it.
        seed: its own, where it was to be said in another way.
        sound: how it was spoken, perhaps with an earlier text or voice.
    """

    id: int
    speaker: str
    text: str
    pause_s: float = 0.0
    seed: int | None = None
    sound: Sound | None = None


@dataclass
class Work:
    """A conversation that is being made.

    Attributes:
        title: for people.
        script: as it was typed.
        names: of the speakers in it, by "S1" to "S4".
        voices: names of voices by "S1" to "S4".
        turns: in order.
        seed: of the conversation.
        speed: of what is spoken from now on, 1 as the voice speaks.
        gap_s: silence between turns that ask for none.
        next_id: of the next turn.
    """

    title: str = ""
    script: str = ""
    names: dict[str, str] = field(default_factory=dict)
    voices: dict[str, str] = field(default_factory=dict)
    turns: list[Turn] = field(default_factory=list)
    seed: int = 0
    speed: float = 1.0
    gap_s: float = 0.0
    next_id: int = 1

    # --- Turns ----------------------------------------------------------------------------------

    def take_script(self, text: str, script: Script) -> None:
        """Makes the turns those of a script; what is said as before keeps its sound.

        Raises:
            StudioError: too many turns, or one that is too long.
        """
        if len(script) > MAX_TURNS:
            raise StudioError(f"{len(script)} turns; at most {MAX_TURNS} are allowed")
        for number, turn in enumerate(script, 1):
            if len(turn.text) > MAX_TURN_CHARACTERS:
                raise StudioError(
                    f"turn {number} has {len(turn.text)} characters; at most "
                    f"{MAX_TURN_CHARACTERS} are allowed"
                )
        old = [(turn.speaker, turn.text) for turn in self.turns]
        new = [(turn.speaker, turn.text) for turn in script]
        turns: list[Turn] = []
        matcher = difflib.SequenceMatcher(a=old, b=new, autojunk=False)
        for kind, a, _, b, b_end in matcher.get_opcodes():
            for offset, written in enumerate(script.turns[b:b_end]):
                if kind == "equal":
                    turns.append(replace(self.turns[a + offset], pause_s=written.pause_s))
                else:
                    turns.append(self.new_turn(written.speaker, written.text, written.pause_s))
        self.turns = turns
        self.script, self.names = text, dict(script.names)

    def new_turn(self, speaker: str, text: str, pause_s: float = 0.0) -> Turn:
        """A turn that is not among the others yet."""
        turn = Turn(self.next_id, speaker, text, pause_s)
        self.next_id += 1
        return turn

    def turn(self, id: int) -> Turn:
        """A turn by its id.

        Raises:
            StudioError: there is none.
        """
        return self.turns[self.place(id)]

    def place(self, id: int) -> int:
        """Where a turn stands, from 0; raises as `turn`."""
        for place, turn in enumerate(self.turns):
            if turn.id == id:
                return place
        raise StudioError("this turn is gone")

    def put(self, turn: Turn) -> None:
        """Changes the turn with the same id."""
        self.turns[self.place(turn.id)] = turn

    def is_current(self, turn: Turn) -> bool:
        """Whether a turn sounds as it is written now."""
        sound = turn.sound
        return sound is not None and (sound.text, sound.voice, sound.speed) == (
            turn.text,
            self.voices.get(turn.speaker),
            self.speed,
        )

    def pause_before(self, place: int) -> float:
        """Seconds of silence before a turn."""
        own = self.turns[place].pause_s
        return own if own or place == 0 else self.gap_s

    def written(self) -> str:
        """The turns as a script."""
        lines = []
        for turn in self.turns:
            if turn.pause_s:
                lines.append(f"[pause:{turn.pause_s:g}s]")
            label = self.names.get(turn.speaker)
            lines.append(f"{label}: {turn.text}" if label else f"[{turn.speaker}] {turn.text}")
        return "\n".join(lines)

    @property
    def speakers(self) -> list[str]:
        """Who has a turn, in order."""
        return [one for one in SPEAKERS if any(turn.speaker == one for turn in self.turns)]

    @property
    def seconds(self) -> float:
        """Of what there is, pauses included."""
        return sum(
            self.pause_before(place) + turn.sound.seconds
            for place, turn in enumerate(self.turns)
            if turn.sound is not None
        )


def sound_names(turns: Iterable[Turn]) -> set[str]:
    """The files that turns need."""
    return {turn.sound.name for turn in turns if turn.sound is not None}
