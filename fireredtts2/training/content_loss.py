"""How far what Whisper hears in a sound is from what it hears in the real one.

Spectra weigh all bands and moments alike; a recogniser's features weigh what tells words and voices
apart (feature losses of a frozen network: Johnson et al. 2016; of a speech model: Li et al. 2023).
The encoder is the codec's own semantic branch, so nothing more is needed.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from fireredtts2.codec.encoder import WhisperEncoder
from fireredtts2.codec.mel import LogMel
from fireredtts2.config import INPUT_RATE_HZ, OUTPUT_RATE_HZ
from fireredtts2.training.precision import computing_quickly

PIECE_SAMPLES = 10 * INPUT_RATE_HZ  # heard at once
MIN_PIECE_SAMPLES = INPUT_RATE_HZ // 2  # a shorter rest is left out


class ContentLoss(nn.Module):
    """Mean over an encoder's layers of the L1 distance of features, relative to their size.

    Args:
        encoder: frozen; it is only read.
        num_mels: of the spectrograms that it hears.
    """

    def __init__(self, encoder: WhisperEncoder, num_mels: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.mel = LogMel(num_mels)

    def forward(self, made: Tensor, real: Tensor) -> Tensor:
        """Audio (B, samples) at 24 kHz twice, gradients to the first, to a scalar."""
        with computing_quickly(made.device):
            return self.compared(made, real)

    def compared(self, made: Tensor, real: Tensor) -> Tensor:
        """The same in the precision of its surroundings."""
        pieces = [
            (one, other)
            for one, other in zip(
                heard_at(made).split(PIECE_SAMPLES, 1),
                heard_at(real).split(PIECE_SAMPLES, 1),
                strict=True,
            )
            if one.shape[1] >= MIN_PIECE_SAMPLES
        ]
        if not pieces:
            return made.new_zeros(())
        return torch.stack([self._distance(*piece) for piece in pieces]).mean()

    def _distance(self, made: Tensor, real: Tensor) -> Tensor:
        with torch.no_grad():
            wanted = list(self.encoder.states(self.mel(real)))
        return features_apart(list(self.encoder.states(self.mel(made))), wanted)


def features_apart(found: Sequence[Tensor], wanted: Sequence[Tensor]) -> Tensor:
    """Mean over a network's layers of the L1 distance of features, relative to their size."""
    return torch.stack(
        [
            (ours.float() - theirs.float()).abs().mean() / theirs.float().abs().mean()
            for ours, theirs in zip(found, wanted, strict=True)
        ]
    ).mean()


def heard_at(audio: Tensor) -> Tensor:
    """Audio (B, samples) at 24 kHz to 16 kHz through its spectrum, which passes gradients."""
    length = audio.shape[1] * INPUT_RATE_HZ // OUTPUT_RATE_HZ
    spectrum = torch.fft.rfft(audio.float())[:, : length // 2 + 1]
    return torch.fft.irfft(spectrum, length) * (length / audio.shape[1])
