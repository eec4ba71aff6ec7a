"""The codec's side of the engine: frames become audio as they come, for many slots in one call."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from fireredtts2.codec.codec import RedCodec
from fireredtts2.codec.state import DecoderState
from fireredtts2.codec.timbre import Timbre
from fireredtts2.codec.voice_adapter import VoiceAdapter
from fireredtts2.config import STEPS_PER_FRAME

#: The state's room grows in steps of so many frames (20 s), for all slots at once.
GROWTH_FRAMES = 250
#: Prompts of which is kept what the decoder is once it has heard them: in the embedded model 3 MB
#: each, and a tenth of a second (of a core with AVX2) that every turn would begin with.
KEPT_PROMPTS = 32


class CodecRunner:
    """Owns the codec and one streaming state with a row a slot.

    The decoder attends to all of a turn, so a row holds 2 * layers * width numbers for every
    step: 8 kB in the embedded model, 66 kB a second; room is made for the longest turn asked for.

    A codec whose decoder is not causal cannot stream: its frames are kept and decoded at the end.

    On CUDA everything here happens on a stream of its own, so that it runs beside the next frame.
    """

    def __init__(self, codec: RedCodec, num_slots: int) -> None:
        self.codec = codec
        self.can_stream = codec.config.acoustic_decoder.causal
        self._num_slots = num_slots
        self._device = next(codec.parameters()).device
        self._stream = torch.cuda.Stream(self._device) if self._device.type == "cuda" else None
        self._trim = codec.acoustic_decoder.isift.istft.trim_samples
        self._state: DecoderState | None = None
        self._steps = [0] * num_slots  # that each slot has decoded
        self._kept: list[list[Tensor]] = [[] for _ in range(num_slots)]
        self._timbres = [Timbre()] * num_slots
        self._begun: list[int] = [0] * num_slots  # steps where each slot's sound begins
        self._prompted: dict[bytes, DecoderState] = {}  # of one row each, by the prompt's codes

    def start(self, slot: int, max_frames: int, timbre: Timbre | None = None) -> None:
        """Makes a slot fresh for a clip of at most `max_frames` frames, in a voice's timbre."""
        timbre = timbre or Timbre()
        self._kept[slot], self._timbres[slot] = [], timbre
        if not self.can_stream:
            return
        num_heard = 0 if timbre.prompt is None else timbre.prompt.shape[1]
        room = -(-(num_heard + max_frames) // GROWTH_FRAMES) * GROWTH_FRAMES
        with self._own_stream():
            if self._state is None:
                self._state = self.codec.initial_state(self._num_slots, room)
            self._state.grow(room * STEPS_PER_FRAME)
            self._state.reset(slot)
            if timbre.prompt is not None:
                self._state.load(slot, self._having_heard(timbre.prompt, timbre.adapter))
            if timbre.gains is not None and self._state.gains is not None:
                self._state.gains[slot] = timbre.gains.to(self._device)
            if timbre.adapter is not None:
                self._state.adapt(slot, timbre.adapter)
        self._steps[slot] = self._begun[slot] = num_heard * STEPS_PER_FRAME

    def _having_heard(self, prompt: Tensor, adapter: VoiceAdapter | None) -> DecoderState:
        """A state of one row that has heard a prompt (Q, P) with a voice's adapter."""
        # NOTE: kept, for a voice speaks many turns, and takes of each.
        key = prompt.cpu().numpy().tobytes() + (b"" if adapter is None else adapter.digest)
        state = self._prompted.pop(key, None)
        if state is None:
            state = self.codec.initial_state(1, prompt.shape[1])
            if adapter is not None:
                state.adapt(0, adapter)
            self.codec.hear(prompt[None].to(self._device), state)
        self._prompted[key] = state  # as the newest
        if len(self._prompted) > KEPT_PROMPTS:
            del self._prompted[next(iter(self._prompted))]
        return state

    def decode(self, slots: Sequence[int], codes: Tensor) -> list[Tensor]:
        """Adds frames to some slots.

        Args:
            slots: their numbers.
            codes: (len(slots), Q, T), T >= 1: as many frames for each.

        Returns:
            For each the audio that its frames complete, (n,) on the CPU.
        """
        if self._state is None:
            for slot, own in zip(slots, codes, strict=True):
                self._kept[slot].append(own)
            return [torch.zeros(0)] * len(slots)
        starts = [self._steps[slot] == self._begun[slot] for slot in slots]
        with self._own_stream():
            state = self._state.select(slots, [self._steps[slot] for slot in slots])
            # NOTE: waits for this stream alone; the next frame runs on another meanwhile.
            audio = self.codec.decode_steps(codes.to(self._device), state).cpu()
        for slot in slots:
            self._steps[slot] += codes.shape[2] * STEPS_PER_FRAME
        # The result runs late by the part of the window that lies before the first frame.
        pairs = zip(audio, starts, strict=True)
        return [own[self._trim :] if is_start else own for own, is_start in pairs]

    def finish(self, slot: int) -> Tensor:
        """The audio still open after the last frame, (n,) on the CPU."""
        if self._state is not None:
            if self._steps[slot] == self._begun[slot]:
                return torch.zeros(0)
            with self._own_stream():
                state = self._state.select([slot], [self._steps[slot]])
                return self.codec.acoustic_decoder.flush(state)[0, : self._trim].cpu()
        if not self._kept[slot]:
            return torch.zeros(0)
        codes = torch.cat(self._kept[slot], dim=1)
        gains, adapter = self._timbres[slot].one_row(self._device)
        with self._own_stream():
            return self.codec.decode(codes[None].to(self._device), gains, None, adapter)[0].cpu()

    def _own_stream(self) -> AbstractContextManager[object]:
        return nullcontext() if self._stream is None else torch.cuda.stream(self._stream)
