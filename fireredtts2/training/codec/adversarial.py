"""Stage two's sound with gradients, and the windows of it that discriminators see."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fireredtts2.codec import RedCodec
from fireredtts2.codec.noise_source import PERIOD_STEPS
from fireredtts2.codec.voice_adapter import VoiceAdapter
from fireredtts2.config import OUTPUT_SAMPLES_PER_FRAME, STEPS_PER_FRAME
from fireredtts2.training.excitation import excitation_loss, measure_excitation
from fireredtts2.training.precision import computing_in


def decoded(codec: RedCodec, codes: Tensor, precision: torch.dtype | None) -> Tensor:
    """Codes (B, q, t) to audio (B, 1920 * t), with gradients; as `hidden_states`, and the sound."""
    start = torch.zeros(len(codes), dtype=torch.long, device=codes.device)
    noise = codec.acoustic_decoder.noise_from(start, STEPS_PER_FRAME * codes.shape[2])
    hidden = hidden_states(codec, codes, precision, noise)
    return codec.acoustic_decoder.audio(hidden, noise=noise)


@dataclass(frozen=True)
class Remade:
    """Sound decoded beside the real one.

    Attributes:
        audio: (takes * B, samples) with gradients, one take of every clip after the other.
        excitation: how far what a harmonic source names is from the real sound's; None without one.
    """

    audio: Tensor
    excitation: Tensor | None


def remade(
    codec: RedCodec,
    codes: Tensor,
    real: Tensor,
    precision: torch.dtype | None,
    takes: int = 1,
    generator: torch.Generator | None = None,
    adapter: VoiceAdapter | None = None,
) -> Remade:
    """Codes (B, q, p + t) decoded as `decoded`, but excited as `real` (B, 1920 * t) is.

    The first p frames, where there are any, are a prompt: the decoder hears them, and nothing is
    asked of their sound. Envelopes are learnt for the right pitch, and the pitch from what is
    measured. Where the decoder has a noise source, every one of the `takes` has noise of its own,
    drawn by `generator`. `adapter` is of all rows, (takes * B) of them.
    """
    decoder, noise = codec.acoustic_decoder, None
    prompt_steps = STEPS_PER_FRAME * (codes.shape[2] - real.shape[1] // OUTPUT_SAMPLES_PER_FRAME)
    if decoder.noise is not None:
        start = torch.randint(PERIOD_STEPS, (takes * len(codes),), generator=generator)
        num_steps = STEPS_PER_FRAME * codes.shape[2]
        noise = decoder.noise_from(start.to(codes.device), num_steps, temperature=1.0)
    hidden = hidden_states(codec, codes.repeat(takes, 1, 1), precision, noise, adapter)
    hidden = hidden[:, prompt_steps:]
    noise = None if noise is None else noise[:, prompt_steps:]
    if decoder.source is None:
        return Remade(decoder.audio(hidden, None, noise, adapter=adapter), None)
    with torch.no_grad():
        excitation = measure_excitation(real).repeated(takes)
    loss = excitation_loss(decoder.source, hidden, excitation)
    return Remade(decoder.audio(hidden, excitation, noise, adapter=adapter), loss)


def hidden_states(
    codec: RedCodec,
    codes: Tensor,
    precision: torch.dtype | None,
    noise: Tensor | None = None,
    adapter: VoiceAdapter | None = None,
) -> Tensor:
    """Codes (B, q, t) to the decoder's last hidden states (B, 8 * t, D) in float32.

    Args:
        codec: whose decoder is causal, at 24 kHz.
        codes: of the first q codebooks.
        precision: of the layers, None for float32.
        noise: as in `AcousticDecoder.hidden`.
        adapter: of the rows.
    """
    values = codec.rvq.decode(codes).transpose(1, 2)
    with computing_in(codes.device, precision):
        hidden = codec.acoustic_decoder.hidden(codec.upsample(values), None, noise, adapter)
    # NOTE: float32 from here on: the head's phases turn more than once.
    return hidden.float()


def windows(
    made: Tensor, real: Tensor, size: int, count: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Windows of (B, samples) twice, drawn at the same places: (count, size) twice."""
    clips = torch.randint(len(made), (count,), generator=generator)
    starts = torch.randint(made.shape[1] - size + 1, (count,), generator=generator)
    columns = starts[:, None] + torch.arange(size)
    return made[clips[:, None], columns], real[clips[:, None], columns]
