"""What stage two minimises before its discriminators join (paper, section 2.1, and ours)."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn

from fireredtts2.codec import RedCodec
from fireredtts2.training.codec.adversarial import Remade
from fireredtts2.training.content_loss import ContentLoss
from fireredtts2.training.spectral_losses import MultiResolutionMelLoss

LINEAR_WINDOWS = (1024, 2048)


class LossWeights(Protocol):
    """How much each part counts; a `loud_weight` or `content_weight` of 0 leaves that part out."""

    @property
    def mel_weight(self) -> float: ...
    @property
    def linear_weight(self) -> float: ...
    @property
    def loud_weight(self) -> float: ...
    @property
    def excitation_weight(self) -> float: ...
    @property
    def content_weight(self) -> float: ...


class DecoderLosses(nn.Module):
    """Spectra, pitch and periodicity, and what Whisper hears.

    Args:
        codec: whose frozen Whisper branch hears.
    """

    def __init__(self, codec: RedCodec) -> None:
        super().__init__()
        self.spectra = MultiResolutionMelLoss(linear_windows=LINEAR_WINDOWS)
        self.content = ContentLoss(codec.ssl, codec.config.ssl.num_mels)

    def forward(self, made: Remade, real: Tensor, weights: LossWeights) -> dict[str, Tensor]:
        """The weighted parts, by name, of what was made of clips (B, samples)."""
        spectra = self.spectra(made.audio, real, loud=bool(weights.loud_weight))
        parts = {
            "mel": weights.mel_weight * spectra.mel,
            "linear": weights.linear_weight * spectra.linear,
        }
        if weights.loud_weight:
            parts["loud"] = weights.loud_weight * spectra.loud
        if made.excitation is not None:
            parts["excitation"] = weights.excitation_weight * made.excitation
        if weights.content_weight:
            first_take = made.audio[: len(real)]
            parts["content"] = weights.content_weight * self.content(first_take, real)
        return parts
