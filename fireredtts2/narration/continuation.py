"""Speech that goes on where a prompt's audio stops, in one segment (SPEC section 6, monologue)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from torch import Tensor

from fireredtts2.codec.timbre import Timbre
from fireredtts2.config import (
    MONOLOGUE_MIN_FRAMES,
    MONOLOGUE_PROMPT_CUT_ROWS,
    MONOLOGUE_UNSPOKEN_FRAMES,
)
from fireredtts2.engine.request import Block
from fireredtts2.narration.conversation import END_ROWS, Spoken, TimbreOf
from fireredtts2.narration.layout import Layout
from fireredtts2.phonemes import PUNCTUATION

CUT_FRAMES = MONOLOGUE_PROMPT_CUT_ROWS - END_ROWS


class SingleSegment:
    """A segment whose text says more than its audio does.

    Args:
        layout: makes the rows.
        before: segments before it.
        codes: the audio (Q, T) to go on from; with none, the segment begins at its beginning.
        timbre: as in `Spoken`, of that audio.
    """

    def __init__(
        self,
        layout: Layout,
        before: Sequence[Spoken],
        codes: Tensor | None,
        timbre: Timbre | None = None,
    ) -> None:
        if codes is not None and codes.shape[1] <= CUT_FRAMES:
            raise ValueError(
                f"the voice prompt has {codes.shape[1]} frames; it needs at least {CUT_FRAMES + 1}"
            )
        self.layout = layout
        self._before = before
        self._codes, self._timbre = codes, timbre

    @property
    def unspoken_frames(self) -> int:
        """The prompt loses its last frames; what is made first stands for them."""
        return 0 if self._codes is None else MONOLOGUE_UNSPOKEN_FRAMES

    @property
    def min_frames(self) -> int:
        """A result of so many frames or fewer has failed."""
        return 0 if self._codes is None else MONOLOGUE_MIN_FRAMES

    def check(self, speaker: str, text: str, max_frames: int) -> None:
        """Raises ValueError where the text cannot be read."""
        self.layout.text(speaker, text)

    def blocks(self, speaker: str, text: str, max_frames: int) -> list[Block]:
        """All text, then the audio without its last frames."""
        before = [self.layout.spoken(s.speaker, s.text, s.codes) for s in self._before]
        if self._codes is None:
            return self.layout.blocks(before, self.layout.text(speaker, text))
        cut = self._codes[:, :-CUT_FRAMES]
        return self.layout.blocks(before, self.layout.spoken(speaker, text, cut))

    def timbre(self, speaker: str) -> Timbre | None:
        """Of the audio, whose speaker goes on."""
        return self._timbre

    def add(self, segment: Spoken) -> None:
        """Nothing follows."""


class Continuation:
    """Pieces of a text, each in one segment with the voice prompt.

    Without a prompt the first piece is spoken in a random voice, which the others then follow.

    Args:
        layout: makes the rows.
        prompt: the voice, or none.
        reads_units: the texts are units of speech.
        timbre_of: asked for the random voice.
    """

    def __init__(
        self,
        layout: Layout,
        prompt: Spoken | None,
        *,
        reads_units: bool = False,
        timbre_of: TimbreOf | None = None,
    ) -> None:
        self.layout = layout
        self._prompt, self._timbre_of = prompt, timbre_of
        self._reads_units = reads_units

    @property
    def unspoken_frames(self) -> int:
        """As of the segment."""
        return self._segment.unspoken_frames

    @property
    def min_frames(self) -> int:
        """As of the segment."""
        return self._segment.min_frames

    def check(self, speaker: str, text: str, max_frames: int) -> None:
        """Raises ValueError where the text cannot be read."""
        self.layout.text(speaker, text)

    def blocks(self, speaker: str, text: str, max_frames: int) -> list[Block]:
        """The prompt's text without its last character, a comma, the text; the prompt's audio.

        Of units only a mark is taken away: a transcript without one would lose a sound.
        """
        joined = f"{self._open(self._prompt.text)},{text}" if self._prompt else text
        return self._segment.blocks(speaker, joined, max_frames)

    def _open(self, text: str) -> str:
        return text.rstrip(f" {PUNCTUATION}") if self._reads_units else text[:-1]

    def timbre(self, speaker: str) -> Timbre | None:
        """As of the segment."""
        return self._segment.timbre(speaker)

    def add(self, segment: Spoken) -> None:
        """A first piece in a random voice becomes the prompt of the others."""
        if self._prompt is None and segment.codes.shape[1] > MONOLOGUE_MIN_FRAMES:
            timbre = self._timbre_of(segment.codes) if self._timbre_of else None
            self._prompt = replace(segment, timbre=timbre)

    @property
    def _segment(self) -> SingleSegment:
        if self._prompt is None:
            return SingleSegment(self.layout, [], None)
        return SingleSegment(self.layout, [], self._prompt.codes, self._prompt.timbre)
