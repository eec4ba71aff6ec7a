"""A request: rows to read, then frames to make until the model ends the turn or a limit is met."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property

import torch
from torch import Tensor

from fireredtts2.codec.timbre import Timbre
from fireredtts2.config import OUTPUT_RATE_HZ
from fireredtts2.llm.prompt import Rows, audio_rows
from fireredtts2.llm.sampling import SamplingParams

LIVE_CHUNK_FRAMES = 4
WHOLE_CHUNK_FRAMES = 16  # where nobody listens before all is made


@dataclass(frozen=True, eq=False)
class Block:
    """Rows that are kept or dropped together, and the adapter that they are read with."""

    rows: Rows
    adapter: str = ""

    @cached_property
    def key(self) -> bytes:
        """Equal for equal rows that are read alike."""
        digest = hashlib.blake2b(self.rows.tokens.numpy().tobytes(), digest_size=16)
        digest.update(self.adapter.encode())
        digest.update(self.rows.mask.numpy().tobytes())
        return digest.digest()

    def __len__(self) -> int:
        return len(self.rows)

    def part(self, begin: int, end: int) -> Rows:
        """Rows `begin` to `end`."""
        return Rows(self.rows.tokens[begin:end], self.rows.mask[begin:end])


class FinishReason(Enum):
    """Why a request ended."""

    END = "the model ended the turn"
    LIMIT = "the frame limit was reached"
    CANCELLED = "the request was cancelled"
    FAILED = "an error came up"


@dataclass(eq=False)
class Request:
    """What is asked for, and how far it has come.

    Attributes:
        blocks: the rows to read, in order; the last row's answer is the first frame.
        sampling: temperature and top-k of both transformers.
        seed: of this request's own random stream.
        max_frames: the end is forced here.
        unspoken_frames: frames at the start that are made but not decoded.
        timbre: what the codec decodes the speaker's voice with; None where nothing is known of it.
        priority: a higher one is seated first; who waits long rises.
        may_wait: whether it may wait for a slot; else it is refused where none is free at once.
        chunk_frames: the most frames that are decoded at once. Long chunks cost less: in the
            embedded model a frame in a chunk of 16 takes a fifth of one alone, in one of 4 two
            fifths.
        max_unread_s: no more frames are made while this much audio waits for the reader; None for
            no such bound.
        num_launched: frames begun, of which the last may be under way.
        frames: (Q,) codes of each frame made, without the end frame.
        chunks: audio that waits for the reader, (n,) float32 on the CPU.
        finish: why the request ended, once it has.
        error: what came up, where it ended by that.
    """

    blocks: Sequence[Block]
    sampling: SamplingParams
    seed: int
    max_frames: int
    unspoken_frames: int = 0
    timbre: Timbre | None = None
    priority: int = 0
    may_wait: bool = True
    chunk_frames: int = LIVE_CHUNK_FRAMES
    max_unread_s: float | None = None
    num_launched: int = 0
    frames: list[Tensor] = field(default_factory=list)
    num_decoded: int = 0
    chunks: deque[Tensor] = field(default_factory=deque)
    finish: FinishReason | None = None
    error: Exception | None = None

    @property
    def num_rows(self) -> int:
        """Rows to read."""
        return sum(len(block) for block in self.blocks)

    @property
    def adapter(self) -> str:
        """The name of the adapter that it is spoken with; "" for none."""
        return self.blocks[-1].adapter

    @property
    def last_row(self) -> Rows:
        """The row whose answer is the first frame."""
        last = self.blocks[-1]
        return last.part(len(last) - 1, len(last))

    @property
    def is_held(self) -> bool:
        """Whether so much audio waits for the reader that no more is made for now."""
        if self.max_unread_s is None:
            return False
        return sum(len(chunk) for chunk in self.chunks.copy()) > self.max_unread_s * OUTPUT_RATE_HZ

    @property
    def wants_frames(self) -> bool:
        """Whether fewer have been begun than there may be."""
        return self.num_launched < self.max_frames

    @property
    def num_spoken(self) -> int:
        """Frames made so far that are spoken."""
        return max(0, len(self.frames) - self.unspoken_frames)

    @property
    def num_due(self) -> int:
        """Frames to decode now.

        The first chunk is one frame, for the listener's sake; then they grow, but never beyond
        what lies ahead of the listener already.
        """
        pending = self.num_spoken - self.num_decoded
        wanted = min(self.chunk_frames, max(1, self.num_decoded))
        return pending if pending >= wanted or self.finish is not None else 0

    @property
    def codes(self) -> Tensor:
        """(Q, T): the spoken frames."""
        return torch.stack(self.frames[self.unspoken_frames :], dim=1)

    def last_codes(self, num_frames: int) -> Tensor:
        """(Q, num_frames): the newest of them, however many there are."""
        return torch.stack(self.frames[-num_frames:], dim=1)


def read_block(request: Request) -> Block:
    """The request's last block with the frames made since: what the cache holds at its end."""
    last = request.blocks[-1]
    if not request.frames:
        return last
    frames = audio_rows(torch.stack(request.frames, dim=1), end=False)
    return Block(Rows.concatenate([last.rows, frames]), last.adapter)
