"""The codec's side of the engine: each slot's frames become audio as they come."""

from __future__ import annotations

import torch
from torch import Tensor

from fireredtts2.codec.codec import RedCodec
from fireredtts2.codec.state import DecoderState
from fireredtts2.config import STEPS_PER_FRAME


class CodecRunner:
    """Owns the codec and one streaming state a slot.

    A codec whose decoder is not causal cannot stream: its frames are kept and decoded at the end.
    """

    def __init__(self, codec: RedCodec, num_slots: int) -> None:
        self.codec = codec
        self.can_stream = codec.config.acoustic_decoder.causal
        self._device = next(codec.parameters()).device
        self._trim = codec.acoustic_decoder.isift.istft.trim_samples
        self._states: list[DecoderState | None] = [None] * num_slots
        self._kept: list[list[Tensor]] = [[] for _ in range(num_slots)]

    def start(self, slot: int, max_frames: int) -> None:
        """Makes a slot fresh for a clip of at most `max_frames` frames."""
        self._kept[slot] = []
        state = self._states[slot]
        if not self.can_stream:
            return
        if state is None or state.capacity < max_frames * STEPS_PER_FRAME:
            self._states[slot] = self.codec.initial_state(1, max_frames)
        else:
            state.reset(0)

    def decode(self, slot: int, codes: Tensor) -> Tensor:
        """Adds frames (Q, T), T >= 1; returns the audio they complete, (n,) on the CPU."""
        state = self._states[slot]
        if state is None:
            self._kept[slot].append(codes)
            return torch.zeros(0)
        return self.codec.decode_chunk(codes[None].to(self._device), state)[0].cpu()

    def finish(self, slot: int) -> Tensor:
        """The audio still open after the last frame, (n,) on the CPU."""
        state = self._states[slot]
        if state is not None:
            if state.live == 0:
                return torch.zeros(0)
            return self.codec.acoustic_decoder.flush(state)[0, : self._trim].cpu()
        if not self._kept[slot]:
            return torch.zeros(0)
        codes = torch.cat(self._kept[slot], dim=1)
        return self.codec.decode(codes[None].to(self._device))[0].cpu()
