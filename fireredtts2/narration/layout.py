"""Text and codes as the model reads them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from fireredtts2.engine.request import Block
from fireredtts2.llm.prompt import Rows, audio_rows, text_rows


class Tokenizer(Protocol):
    """What the layout needs of the text tokenizer."""

    def encode_segment_text(self, tag: str, text: str) -> list[int]: ...


@dataclass(frozen=True)
class Layout:
    """Makes rows of one model: its tokenizer, its codebooks, the codes in each.

    `adapter` names the adapter that they are read with; "" is none.
    """

    tokenizer: Tokenizer
    num_codebooks: int
    audio_vocab_size: int
    adapter: str = ""

    def text(self, speaker: str, text: str) -> Rows:
        """A segment's text; speaker is "S1" to "S4"."""
        return text_rows(
            self.tokenizer.encode_segment_text(f"[{speaker}]", text), self.num_codebooks
        )

    def spoken(self, speaker: str, text: str, codes: Tensor) -> Rows:
        """A spoken segment without its end row."""
        return Rows.concatenate([self.text(speaker, text), self.frames(codes)])

    def frames(self, codes: Tensor) -> Rows:
        """Frames (Q or more, T) without an end row.

        Raises:
            ValueError: codes that this model does not know.
        """
        codes = codes[: self.num_codebooks].cpu()
        if codes.numel() and not 0 <= codes.min() <= codes.max() < self.audio_vocab_size:
            raise ValueError(
                f"codes from {codes.min()} to {codes.max()}; this model knows 0 to "
                f"{self.audio_vocab_size - 1}: voice and model do not belong together"
            )
        return audio_rows(codes, end=False)

    @property
    def end(self) -> Rows:
        """The row that ends a segment's audio."""
        return audio_rows(torch.zeros(self.num_codebooks, 0, dtype=torch.long), end=True)

    def blocks(self, spoken: list[Rows], last: Rows) -> list[Block]:
        """A context, then the rows to be continued, as blocks.

        An end row goes with the block after it: what the cache holds when a turn has just ended,
        its frames but not yet its end, is then exactly a block.
        """
        parts = [*spoken, last]
        ended = [parts[0], *(Rows.concatenate([self.end, part]) for part in parts[1:])]
        return [Block(rows, self.adapter) for rows in ended]
