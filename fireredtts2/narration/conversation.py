"""What comes before a turn: voice prompts and earlier turns, in a window that slides."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from fireredtts2.codec.timbre import Timbre
from fireredtts2.config import MAX_CONTEXT_ROWS
from fireredtts2.engine.request import Block
from fireredtts2.llm.prompt import Rows
from fireredtts2.narration.layout import Layout

END_ROWS = 1
#: What a speaker without a prompt has said first tells how he sounds; more than this is not needed.
OWN_VOICE_FRAMES = 50
#: What a voice is decoded with, by codes (Q, T) that it said.
TimbreOf = Callable[[Tensor], Timbre | None]


@dataclass(frozen=True, eq=False)
class Spoken:
    """A spoken segment.

    Attributes:
        speaker: "S1" to "S4".
        text: as the model reads it.
        codes: (Q, T).
        timbre: what the codec decodes this voice with; None where nothing is known of it.
    """

    speaker: str
    text: str
    codes: Tensor
    timbre: Timbre | None = None


class Context(Protocol):
    """Makes the rows of the next piece of speech, and takes it in once it is spoken."""

    @property
    def unspoken_frames(self) -> int: ...
    @property
    def min_frames(self) -> int: ...
    def check(self, speaker: str, text: str, max_frames: int) -> None: ...
    def blocks(self, speaker: str, text: str, max_frames: int) -> list[Block]: ...
    def timbre(self, speaker: str) -> Timbre | None: ...
    def add(self, segment: Spoken) -> None: ...


class Conversation:
    """Segments one after the other (SPEC section 6, dialogue).

    Prompts stay. When the next turn would not fit, the oldest turns go, and more of them than
    needed: what remains has to be read again, so this must happen seldom.

    Args:
        layout: makes the rows.
        prompts: the speakers' voices, or any segments that must stay.
        max_rows: the window, of which the next turn's frames are part.
        trained_rows: the longest sequence that the model has learnt from; turns go rather than
            that it is exceeded, but prompts and the next turn may exceed it.
        timbre_of: asked for the voices of speakers without a prompt, once they have spoken.
    """

    unspoken_frames = 0
    min_frames = 0

    def __init__(
        self,
        layout: Layout,
        prompts: Sequence[Spoken],
        max_rows: int,
        trained_rows: int = MAX_CONTEXT_ROWS,
        timbre_of: TimbreOf | None = None,
    ) -> None:
        self.layout = layout
        self.max_rows = max_rows
        self.trained_rows = trained_rows
        self._prompts: list[Rows] = []
        self._turns: list[Rows] = []
        self._num_added = 0  # turns, less those that were taken back
        self._timbre_of = timbre_of
        self._known: dict[str, Spoken] = {}  # of each speaker the longest prompt with a timbre
        self._first_turns: list[tuple[int, Spoken]] = []  # with their numbers; of all the others
        for prompt in prompts:
            self.add_prompt(prompt)

    @property
    def num_turns(self) -> int:
        """Turns in the window."""
        return len(self._turns)

    @property
    def num_rows(self) -> int:
        """Rows of prompts and turns."""
        return _total(self._prompts) + _total(self._turns)

    def add_prompt(self, prompt: Spoken) -> None:
        """One more voice, or segment, that stays."""
        self._prompts.append(self._rows(prompt))
        held = self._known.get(prompt.speaker)
        is_longer = held is None or held.codes.shape[1] < prompt.codes.shape[1]
        if prompt.timbre is not None and is_longer:
            self._known[prompt.speaker] = prompt

    def drop_last(self) -> None:
        """Takes the newest turn back; nothing happens where none is in the window."""
        if not self._turns:
            return
        self._turns.pop()
        self._num_added -= 1
        if self._first_turns and self._first_turns[-1][0] == self._num_added:
            self._first_turns.pop()

    def timbre(self, speaker: str) -> Timbre | None:
        """A speaker's, by the longest prompt, or by what he said first; None for none."""
        if speaker in self._known:
            return self._known[speaker].timbre
        said = self._first_codes(speaker)
        return self._timbre_of(torch.cat(said, dim=1)) if self._timbre_of and said else None

    def _first_codes(self, speaker: str) -> list[Tensor]:
        return [turn.codes for _, turn in self._first_turns if turn.speaker == speaker]

    def check(self, speaker: str, text: str, max_frames: int) -> None:
        """Raises ValueError where the turn could not be spoken, whatever is said before it."""
        self._room(self.layout.text(speaker, text), max_frames)

    def blocks(self, speaker: str, text: str, max_frames: int) -> list[Block]:
        """The context, then the text of the turn to be spoken.

        Raises:
            ValueError: prompts, text and frames alone are more than the window.
        """
        last = self.layout.text(speaker, text)
        self._slide(self._room(last, max_frames))
        return self.layout.blocks([*self._prompts, *self._turns], last)

    def add(self, segment: Spoken) -> None:
        """Takes a turn in, codes and all: nothing is decoded and encoded again."""
        self._turns.append(self._rows(segment))
        num_known = sum(codes.shape[1] for codes in self._first_codes(segment.speaker))
        if segment.speaker not in self._known and num_known < OWN_VOICE_FRAMES:
            self._first_turns.append((self._num_added, segment))
        self._num_added += 1

    def _rows(self, segment: Spoken) -> Rows:
        return self.layout.spoken(segment.speaker, segment.text, segment.codes)

    def _room(self, last: Rows, max_frames: int) -> int:
        """Rows that turns may take."""
        prompts = _total(self._prompts)
        room = self.max_rows - prompts - len(last) - max_frames
        if room < 0:
            raise ValueError(
                f"voice prompts take {prompts} rows, this turn's text {len(last)} and its audio up "
                f"to {max_frames}: more than the {self.max_rows} rows of the context window. Use "
                "shorter prompts, shorter turns or a lower turn_limit_ms"
            )
        # Speech usually takes about as many frames as its text has rows, not the limit.
        return max(0, min(room, self.trained_rows - prompts - 2 * len(last)))

    def _slide(self, room: int) -> None:
        if _total(self._turns) <= room:
            return
        while len(self._turns) > 1 and _total(self._turns) > room // 2:
            self._turns.pop(0)
        if _total(self._turns) > room:
            self._turns.clear()


def _total(segments: Sequence[Rows]) -> int:
    return sum(len(rows) + END_ROWS for rows in segments)
