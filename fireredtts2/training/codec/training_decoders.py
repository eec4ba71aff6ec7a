"""Stage one's own decoders, which only training uses: of sound, or of spectrograms."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fireredtts2.codec.decoder import AcousticDecoder
from fireredtts2.config import (
    INPUT_RATE_HZ,
    INPUT_SAMPLES_PER_FRAME,
    OUTPUT_RATE_HZ,
    OUTPUT_SAMPLES_PER_FRAME,
    STEPS_PER_FRAME,
    DecoderConfig,
)
from fireredtts2.training.precision import computing_in
from fireredtts2.training.spectral_losses import MultiResolutionMelLoss
from fireredtts2.training.spectrogram_decoder import SpectrogramDecoder, Spectrograms

HEAD_DIM = 64
MEL_WINDOWS_16K = ((256, 32), (512, 64), (1024, 80), (1280, 100))
LINEAR_WINDOWS_16K = (512, 1280)


class SoundComparer(nn.Module):
    """A decoder of sound at 16 kHz, not causal, as the paper's."""

    rate_hz, samples_per_frame = INPUT_RATE_HZ, INPUT_SAMPLES_PER_FRAME

    def __init__(self, embed_dim: int, num_layers: int) -> None:
        super().__init__()
        heads, hop = max(1, embed_dim // HEAD_DIM), INPUT_SAMPLES_PER_FRAME // STEPS_PER_FRAME
        self.decoder = AcousticDecoder(
            DecoderConfig(embed_dim, num_layers, heads, hop, causal=False)
        )
        self.loss = MultiResolutionMelLoss(MEL_WINDOWS_16K, LINEAR_WINDOWS_16K, INPUT_RATE_HZ)

    def compared(
        self, features: Tensor, target: Tensor, precision: torch.dtype | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Features (B, T at 50 Hz, D) and sound (B, 320 * T) at 16 kHz.

        Returns:
            Distances by mel bands and by bins, and the sound made, (B, 320 * T).
        """
        with computing_in(features.device, precision):
            hidden = self.decoder.hidden(features)
        # NOTE: float32 from here on: the head's phases turn more than once.
        made = self.decoder.audio(hidden.float())
        spectra = self.loss(made, target)
        return spectra.mel, spectra.linear, made


class SpectrogramComparer(nn.Module):
    """A decoder of log-mels of several windows at 24 kHz, which is learnt sooner than sound."""

    rate_hz, samples_per_frame = OUTPUT_RATE_HZ, OUTPUT_SAMPLES_PER_FRAME

    def __init__(self, embed_dim: int, num_layers: int) -> None:
        super().__init__()
        self.decoder = SpectrogramDecoder(embed_dim, num_layers)
        self.spectrograms = Spectrograms()

    def compared(
        self, features: Tensor, target: Tensor, precision: torch.dtype | None
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Features (B, T at 50 Hz, D) and sound (B, 480 * T) at 24 kHz.

        Returns:
            The distance of spectrograms, 0, and no sound.
        """
        with computing_in(features.device, precision):
            made = self.decoder(features)
        mel = (made.float() - self.spectrograms(target)).abs().mean()
        return mel, mel.new_zeros(()), None
