"""What a decoder knows of a speaker before the first frame of a turn."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fireredtts2.codec.voice_adapter import VoiceAdapter


@dataclass(frozen=True, eq=False)
class Timbre:
    """Of one voice; `RedCodec.timbre` makes it of a clip's codes.

    Attributes:
        gains: (bins,) of the codec's equaliser; None for none.
        prompt: (Q, P) codes of the speaker that the decoder hears first; None for none. A frame of
            few codes leaves open who speaks, and a turn's own first frames tell it too late.
        adapter: of the decoder to the voice; None for none.
    """

    gains: Tensor | None = None
    prompt: Tensor | None = None
    adapter: VoiceAdapter | None = None

    def one_row(self, device: torch.device) -> tuple[Tensor | None, VoiceAdapter | None]:
        """Gains (1, bins) and adapter as `RedCodec.decode` takes them for a single clip."""
        gains = None if self.gains is None else self.gains[None].to(device)
        return gains, None if self.adapter is None else self.adapter.rows(1, device)
