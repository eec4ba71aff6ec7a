"""Streaming state of the decoder: explicit tensors of fixed shape, one row a listener.

A fresh state is all zeros. Rows start and stop independently: `reset(row)` makes one new again, and
`select` lends some of the rows as a state of their own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor

from fireredtts2.codec.voice_adapter import VoiceAdapter

#: Rows of a state: neighbours, whose memory is used as it lies, or any, by number.
RowIndex = slice | Tensor
ALL_ROWS = slice(None)


@dataclass
class TailState:
    """The last inputs that a causal convolution still needs, (B, channels, steps).

    `rows` says which of the B rows are meant; all by default.
    """

    tail: Tensor
    rows: RowIndex = field(default_factory=lambda: ALL_ROWS)

    def extend(self, x: Tensor) -> Tensor:
        """Puts the tail before x (rows, channels, T) and keeps the new tail."""
        joined = torch.cat([self.tail[self.rows], x], dim=2)
        # NOTE: in place, so that the state's storage stays where it is.
        self.tail[self.rows] = joined[:, :, joined.shape[2] - self.tail.shape[2] :]
        return joined

    def reset(self, row: int) -> None:
        self.tail[row].zero_()

    def select(self, rows: RowIndex) -> TailState:
        return TailState(self.tail, rows)


@dataclass
class AttentionState:
    """Keys and values of one attention layer, (B, heads, capacity, head_dim); rows as above."""

    keys: Tensor
    values: Tensor
    rows: RowIndex = field(default_factory=lambda: ALL_ROWS)

    def extend(
        self, keys: Tensor, values: Tensor, positions: Tensor, live: int
    ) -> tuple[Tensor, Tensor]:
        """Writes (rows, heads, T, head_dim) at positions (rows, T); returns `live` first steps."""
        numbers = self._numbers(keys.device)[:, None]
        self.keys[numbers, :, positions] = keys.transpose(1, 2)
        self.values[numbers, :, positions] = values.transpose(1, 2)
        return self.keys[self.rows, :, :live], self.values[self.rows, :, :live]

    def select(self, rows: RowIndex) -> AttentionState:
        return AttentionState(self.keys, self.values, rows)

    def _numbers(self, device: torch.device) -> Tensor:
        if isinstance(self.rows, Tensor):
            return self.rows
        return torch.arange(self.keys.shape[0], device=device)[self.rows]


@dataclass
class SourceState:
    """What a harmonic source keeps of each row; rows as above.

    Attributes:
        tail: hidden states that its pitch still depends on.
        phases: (B,) int64, how far the pulses have gone round: whole numbers, so that a sum does
            not depend on where it was cut.
    """

    tail: TailState
    phases: Tensor
    rows: RowIndex = field(default_factory=lambda: ALL_ROWS)

    def advance(self, increments: Tensor) -> Tensor:
        """Adds whole increments (rows, T), each before its step; returns the phases (rows, T)."""
        phases = self.phases[self.rows, None] + increments.long().cumsum(1)
        self.phases[self.rows] = phases[:, -1]
        return phases

    def reset(self, row: int) -> None:
        self.tail.reset(row)
        self.phases[row] = 0

    def select(self, rows: RowIndex) -> SourceState:
        return SourceState(self.tail.select(rows), self.phases, rows)


@dataclass
class DecoderState:
    """Everything a streamed decode keeps between chunks.

    Attributes:
        steps: (B,) int64, decoder steps (100 Hz) that each row has taken.
        prompt_steps: (B,) int64, how many of these were a prompt's, of which no sound is made.
        gains: (B, bins) of each row's equaliser, 1 where nothing is to be changed; None where the
            decoder has none.
        adapter: of each row, all zeros where nothing is to be changed; None while no row has one.
        adapted: numbers of the rows that have one.
        live: no row has taken more steps than this; bounds the attended length on the host.
    """

    steps: Tensor
    prompt_steps: Tensor
    upsample: list[TailState]
    convolutions: list[TailState]
    attention: list[AttentionState]
    overlap: TailState
    source: SourceState | None
    gains: Tensor | None = None
    adapter: VoiceAdapter | None = None
    adapted: set[int] = field(default_factory=set)
    live: int = 0

    @property
    def capacity(self) -> int:
        """Steps that a row can hold."""
        return self.attention[0].keys.shape[2] if self.attention else 2**62

    @property
    def sound_steps(self) -> Tensor:
        """(B,) int64: those of the steps that sound was made of."""
        return self.steps - self.prompt_steps

    def advance(self, num_steps: int) -> None:
        """Counts steps that all rows have taken."""
        self.steps += num_steps
        self.live += num_steps

    def reset(self, row: int) -> None:
        """Makes one row fresh; the others go on undisturbed."""
        # Keys and values need no clearing: a step sees only positions its row has written.
        self.steps[row] = self.prompt_steps[row] = 0
        for tail in [*self.upsample, *self.convolutions, self.overlap]:
            tail.reset(row)
        if self.source is not None:
            self.source.reset(row)
        if self.gains is not None:
            self.gains[row] = 1
        if self.adapter is not None and row in self.adapted:
            self.adapter.put(row, None)
        self.adapted.discard(row)
        self.live = int(self.steps.max())

    def adapt(self, row: int, adapter: VoiceAdapter) -> None:
        """Gives one row the adapter of a voice, until it is reset."""
        if self.adapter is None:
            self.adapter = adapter.none(len(self.steps), self.steps.device)
        self.adapter.put(row, adapter)
        self.adapted.add(row)

    def select(self, rows: Sequence[int], steps: Sequence[int]) -> DecoderState:
        """Some rows as a state of their own, which shares all memory but `steps`.

        Args:
            rows: their numbers; neighbours in order are used as they lie, others are gathered.
            steps: how many steps each of them has taken. The caller keeps count; this state's own
                `steps` stay as they are.
        """
        index: RowIndex = torch.tensor(rows, device=self.steps.device)
        if list(rows) == list(range(rows[0], rows[0] + len(rows))):
            index = slice(rows[0], rows[0] + len(rows))
        return DecoderState(
            steps=torch.tensor(steps, device=self.steps.device),
            prompt_steps=self.prompt_steps[index],
            upsample=[tail.select(index) for tail in self.upsample],
            convolutions=[tail.select(index) for tail in self.convolutions],
            attention=[layer.select(index) for layer in self.attention],
            overlap=self.overlap.select(index),
            source=None if self.source is None else self.source.select(index),
            gains=None if self.gains is None else self.gains[index],
            adapter=self._adapter_of(rows, index),
            live=max(steps),
        )

    def _adapter_of(self, rows: Sequence[int], index: RowIndex) -> VoiceAdapter | None:
        if self.adapter is None or self.adapted.isdisjoint(rows):
            return None
        return self.adapter.select(index)

    def load(self, row: int, prompted: DecoderState) -> None:
        """Makes one row stand where a state of a single row does that has heard a prompt only."""
        self.reset(row)
        num_steps = int(prompted.steps)
        self.steps[row] = self.prompt_steps[row] = num_steps
        ours, theirs = ([*s.upsample, *s.convolutions] for s in (self, prompted))
        for own, other in zip(ours, theirs, strict=True):
            own.tail[row] = other.tail[0]
        for layer, heard in zip(self.attention, prompted.attention, strict=True):
            layer.keys[row, :, :num_steps] = heard.keys[0, :, :num_steps]
            layer.values[row, :, :num_steps] = heard.values[0, :, :num_steps]
        self.live = int(self.steps.max())

    def grow(self, capacity: int) -> None:
        """Makes room for so many steps in every row; what rows hold stays."""
        for layer in self.attention:
            more = max(0, capacity - layer.keys.shape[2])
            layer.keys = F.pad(layer.keys, (0, 0, 0, more))
            layer.values = F.pad(layer.values, (0, 0, 0, more))
