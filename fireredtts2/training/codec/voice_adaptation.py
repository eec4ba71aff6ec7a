"""Learns the adapter with which a decoder says one voice, from a few seconds of it.

The clip's codes are decoded and compared with the clip, as when the decoder was trained, and only
the adapter learns (`VoiceAdapter`). A few updates are enough: it is what the decoder says in this
voice whatever the codes are that changes first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from fireredtts2.audio import resample
from fireredtts2.codec import RedCodec
from fireredtts2.codec.voice_adapter import VoiceAdapter, adapter_shapes
from fireredtts2.config import (
    INPUT_RATE_HZ,
    INPUT_SAMPLES_PER_FRAME,
    OUTPUT_RATE_HZ,
    OUTPUT_SAMPLES_PER_FRAME,
)
from fireredtts2.training.bad_steps import BadSteps, TrainingDivergedError, step_if_finite
from fireredtts2.training.codec.adversarial import remade
from fireredtts2.training.codec.decoder_losses import DecoderLosses
from fireredtts2.training.precision import resolve_precision
from fireredtts2.training.schedule import trapezoid

MAX_NORM = 10.0
MAX_BAD_STEPS = 5
#: A longer clip is heard in pieces drawn anew for each update.
MAX_FRAMES = 50
#: Every other update a part of the piece is heard before the rest, as a prompt is before a turn.
MIN_PROMPT_FRAMES = 12
#: Above, the clip says nothing (it is heard at 16 kHz) or little: there the decoder stays as it is.
CLIP_TOP_HZ = 7_600


@dataclass(frozen=True)
class Adaptation:
    """How an adapter is learnt; the weights are those of `DecoderLosses`."""

    steps: int = 30
    learning_rate: float = 5e-3
    warmup_steps: int = 5
    takes: int = 1
    mel_weight: float = 15.0
    linear_weight: float = 10.0
    loud_weight: float = 10.0
    excitation_weight: float = 5.0
    content_weight: float = 20.0
    seed: int = 0


@torch.inference_mode(False)
@torch.enable_grad()
def adapt_voice(
    codec: RedCodec,
    codes: Tensor,
    audio: Tensor,
    adaptation: Adaptation | None = None,
    on_step: Callable[[int, int], None] | None = None,
) -> VoiceAdapter:
    """Learns the adapter of one voice; the codec stays as it is.

    Args:
        codec: whose decoder is causal, its weights without gradients.
        codes: (q, T) of the voice's clip, as many codebooks as will be decoded.
        audio: (samples,) the clip at 16 kHz.
        adaptation: how; as it comes by default.
        on_step: is told after every update how many there were, and how many there will be.

    Returns:
        On the CPU, numbers of float16 in float32.

    Raises:
        ValueError: the decoder is not causal, or the clip and its codes are not as long.
        TrainingDivergedError: some updates in a row were not finite.
    """
    how = adaptation or Adaptation()
    if not codec.config.acoustic_decoder.causal:
        raise ValueError("this codec's decoder is not causal (causal: false): it has no adapters")
    # NOTE: what inference mode has made takes no part in gradients: copies do.
    codes, audio = codes.clone(), audio.clone()
    real = _sound_to_learn(codec, codes, audio)
    random = torch.Generator().manual_seed(how.seed)
    adapter = _fresh(codec, random)
    parameters = list(adapter.tensors.values())
    optimizer = torch.optim.AdamW(
        parameters, lr=how.learning_rate, betas=(0.8, 0.99), weight_decay=0.0
    )
    loss = DecoderLosses(codec).to(real.device)
    precision = resolve_precision("auto", real.device)
    bad_steps = BadSteps(MAX_BAD_STEPS, "clips")
    for step in range(how.steps):
        for group in optimizer.param_groups:
            group["lr"] = how.learning_rate * trapezoid(step, how.warmup_steps, how.steps)
        piece, num_heard = _drawn_piece(codes.shape[1], step, random)
        begin, end = piece.start + num_heard, piece.stop
        sound = real[:, begin * OUTPUT_SAMPLES_PER_FRAME : end * OUTPUT_SAMPLES_PER_FRAME]
        rows = adapter.rows(how.takes)
        made = remade(codec, codes[None, :, piece], sound, precision, how.takes, random, rows)
        total = torch.stack(list(loss(made, sound, how).values())).sum()
        bad_steps.count(step + 1, step_if_finite(total, optimizer, parameters, MAX_NORM))
        if on_step is not None:
            on_step(step + 1, how.steps)
    # NOTE: as a voice's file keeps it, so that a voice sounds the same once it was saved.
    kept = {name: one.detach().cpu().half().float() for name, one in adapter.items()}
    return VoiceAdapter(**kept)


def adapter_learner(
    codec: RedCodec, on_step: Callable[[int, int], None] | None = None
) -> Callable[[Tensor, Tensor], VoiceAdapter]:
    """`adapt_voice` as the making of a voice calls it: codes and audio to an adapter.

    It raises ValueError where the updates were not finite.
    """

    def learn(codes: Tensor, audio: Tensor) -> VoiceAdapter:
        try:
            return adapt_voice(codec, codes, audio, on_step=on_step)
        except TrainingDivergedError as error:
            raise ValueError(f"nothing can be learnt from this clip: {error}") from error

    return learn


def _fresh(codec: RedCodec, random: torch.Generator) -> VoiceAdapter:
    """One that changes nothing yet, on the codec's device, with gradients."""
    device = next(codec.parameters()).device
    shapes = adapter_shapes(codec.config.acoustic_decoder)
    tensors = {name: torch.zeros(shape) for name, shape in shapes.items()}
    for name in ("down", "head_down"):  # what comes back from there begins as zero
        tensors[name].normal_(std=shapes[name][-1] ** -0.5, generator=random)
    return VoiceAdapter(**{name: one.to(device).requires_grad_() for name, one in tensors.items()})


def _sound_to_learn(codec: RedCodec, codes: Tensor, audio: Tensor) -> Tensor:
    """(1, 1920 * T): the clip at 24 kHz, and above what it tells what the decoder makes of it."""
    num_frames = codes.shape[1]
    if -(-len(audio) // INPUT_SAMPLES_PER_FRAME) != num_frames:
        raise ValueError(
            f"a clip of {len(audio)} samples at {INPUT_RATE_HZ} Hz has "
            f"{-(-len(audio) // INPUT_SAMPLES_PER_FRAME)} frames, its codes are of {num_frames}"
        )
    padded = F.pad(audio, (0, num_frames * INPUT_SAMPLES_PER_FRAME - len(audio)))
    clip = resample(padded.cpu(), INPUT_RATE_HZ, OUTPUT_RATE_HZ)
    made = codec.decode(codes[None])[0].cpu()
    hz = torch.fft.rfftfreq(len(made), 1 / OUTPUT_RATE_HZ)
    both = torch.where(hz < CLIP_TOP_HZ, torch.fft.rfft(clip), torch.fft.rfft(made))
    return torch.fft.irfft(both, len(made))[None].to(codes.device)


def _drawn_piece(num_frames: int, step: int, random: torch.Generator) -> tuple[slice, int]:
    """Which frames update number `step` hears, and how many of them as a prompt alone."""
    length = min(num_frames, MAX_FRAMES)
    begin = int(torch.randint(num_frames - length + 1, (), generator=random))
    num_heard = 0
    if step % 2 == 0 and length >= 2 * MIN_PROMPT_FRAMES:
        num_heard = int(torch.randint(MIN_PROMPT_FRAMES, length // 2 + 1, (), generator=random))
    return slice(begin, begin + length), num_heard
