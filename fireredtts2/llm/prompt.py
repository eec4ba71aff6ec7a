"""The (Q+1)-column layout of SPEC section 4, shared by inference and training.

A row has Q audio codes, then one text id; a mask of the same shape says which columns are live.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

PADDING_SEGMENT = -1


@dataclass(frozen=True)
class Rows:
    """Tokens (T, Q+1) int64 and their live columns, mask (T, Q+1) bool."""

    tokens: Tensor
    mask: Tensor

    def __len__(self) -> int:
        return len(self.tokens)

    @staticmethod
    def concatenate(parts: Iterable[Rows]) -> Rows:
        """One after the other; there must be at least one."""
        parts = list(parts)
        return Rows(torch.cat([p.tokens for p in parts]), torch.cat([p.mask for p in parts]))


@dataclass(frozen=True)
class Segment:
    """One speaker's turn: the ids of its tagged text, and its codes (Q, frames) once spoken."""

    text_ids: Sequence[int]
    codes: Tensor | None = None


def text_rows(text_ids: Sequence[int], num_codebooks: int) -> Rows:
    """One row per text id, only the text column live."""
    tokens = torch.zeros(len(text_ids), num_codebooks + 1, dtype=torch.int64)
    tokens[:, -1] = torch.tensor(text_ids, dtype=torch.int64)
    mask = torch.zeros_like(tokens, dtype=torch.bool)
    mask[:, -1] = True
    return Rows(tokens, mask)


def audio_rows(codes: Tensor, end: bool = True) -> Rows:
    """One row per frame of codes (Q, frames), only the audio columns live.

    The row of zeros that ends a turn follows, unless `end` is false.
    """
    if codes.ndim != 2:
        raise ValueError(f"codes of shape {tuple(codes.shape)} given; expected (Q, frames)")
    num_codebooks, num_frames = codes.shape
    tokens = torch.zeros(num_frames + int(end), num_codebooks + 1, dtype=torch.int64)
    tokens[:num_frames, :-1] = codes.T
    mask = torch.ones_like(tokens, dtype=torch.bool)
    mask[:, -1] = False
    return Rows(tokens, mask)


def segment_rows(segment: Segment, num_codebooks: int) -> Rows:
    """A segment's text rows, then its audio rows if it has been spoken."""
    text = text_rows(segment.text_ids, num_codebooks)
    if segment.codes is None:
        return text
    if len(segment.codes) != num_codebooks:
        raise ValueError(
            f"codes of shape {tuple(segment.codes.shape)} given; expected ({num_codebooks}, frames)"
        )
    return Rows.concatenate((text, audio_rows(segment.codes)))


def context_rows(segments: Sequence[Segment], num_codebooks: int) -> Rows:
    """A conversation in order of speaking; the turn to be spoken comes last, without codes."""
    if not segments:
        raise ValueError("a context needs at least one segment")
    return Rows.concatenate(segment_rows(segment, num_codebooks) for segment in segments)


def frame_rows(codes: Tensor) -> tuple[Tensor, Tensor]:
    """Frames just drawn (B, Q) as the next rows: tokens and mask, both (B, 1, Q+1)."""
    tokens = F.pad(codes, (0, 1))[:, None]
    mask = torch.ones(tokens.shape[-1], dtype=torch.bool, device=codes.device)
    mask[-1] = False
    return tokens, mask.expand(tokens.shape)


def pad_rows(batch: Sequence[Rows]) -> tuple[Tensor, Tensor, list[int]]:
    """Stacks rows of several lengths, dead rows at the ends.

    Returns:
        Tokens and mask (B, T, Q+1), T the longest; and each one's number of real rows.
    """
    tokens = pad_sequence([rows.tokens for rows in batch], batch_first=True)
    mask = pad_sequence([rows.mask for rows in batch], batch_first=True)
    return tokens, mask, [len(rows) for rows in batch]


def packed_attention(segment_ids: Tensor) -> Tensor:
    """What each row of a packed batch may see: its own sample up to itself.

    Args:
        segment_ids: (B, T) int64, one number per sample; `PADDING_SEGMENT` marks dead rows,
            which see themselves alone (a row that sees nothing would give NaN).

    Returns:
        (B, T, T) bool, true where the row (first T) may attend.
    """
    num_steps = segment_ids.shape[1]
    same = segment_ids[:, :, None] == segment_ids[:, None, :]
    live = segment_ids != PADDING_SEGMENT
    itself = torch.eye(num_steps, dtype=torch.bool, device=segment_ids.device)
    return (same & live[:, None, :]).tril() | itself


def packed_positions(segment_ids: Tensor) -> Tensor:
    """Positions (B, T) int64 that begin at 0 in every sample of a packed batch."""
    steps = torch.arange(segment_ids.shape[1], device=segment_ids.device).expand_as(segment_ids)
    begins = torch.ones_like(segment_ids, dtype=torch.bool)
    begins[:, 1:] = segment_ids[:, 1:] != segment_ids[:, :-1]
    return steps - torch.where(begins, steps, 0).cummax(1).values
