"""Learns the adapter with which a decoder says one voice, from a few seconds of it or minutes.

The clips' codes are decoded and compared with the clips, as when the decoder was trained, and only
the adapter learns (`VoiceAdapter`). A few updates are enough: it is what the decoder says in this
voice whatever the codes are that changes first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fireredtts2.codec import RedCodec
from fireredtts2.codec.voice_adapter import VoiceAdapter, adapter_shapes
from fireredtts2.training.bad_steps import BadSteps, TrainingDivergedError, step_if_finite
from fireredtts2.training.codec.adversarial import remade
from fireredtts2.training.codec.decoder_losses import DecoderLosses
from fireredtts2.training.codec.voice_clips import PIECE_FRAMES, VoiceClips
from fireredtts2.training.precision import resolve_precision
from fireredtts2.training.schedule import trapezoid

MAX_NORM = 10.0
MAX_BAD_STEPS = 5
#: Called after every update: how many there were, and how many there will be.
OnStep = Callable[[int, int], None]
#: Codes (q, T) and audio (samples,) at 16 kHz of each clip.
Clips = Sequence[tuple[Tensor, Tensor]]


@dataclass(frozen=True)
class Adaptation:
    """How an adapter is learnt; the weights are those of `DecoderLosses`.

    Attributes:
        steps: updates for a clip of 4 s or less; as many more as there is more to learn from.
        most_steps: however much there is.
        strength: so much of what was learnt is kept. A clip is short, and not all that is learnt of
            it is the voice: three quarters sound clearer, and hardly less alike.
    """

    steps: int = 30
    most_steps: int = 240
    strength: float = 0.75
    learning_rate: float = 5e-3
    warmup_steps: int = 5
    takes: int = 1
    mel_weight: float = 15.0
    linear_weight: float = 10.0
    loud_weight: float = 10.0
    excitation_weight: float = 5.0
    content_weight: float = 60.0
    seed: int = 0

    def steps_for(self, num_frames: int) -> int:
        """Updates for so many frames of a voice."""
        return min(self.most_steps, round(self.steps * max(1.0, num_frames / PIECE_FRAMES)))


@torch.inference_mode(False)
@torch.enable_grad()
def adapt_voice(
    codec: RedCodec,
    clips: Clips,
    adaptation: Adaptation | None = None,
    on_step: OnStep | None = None,
) -> VoiceAdapter:
    """Learns the adapter of one voice; the codec stays as it is.

    Args:
        codec: whose decoder is causal, its weights without gradients.
        clips: of the voice; codes of as many codebooks as will be decoded.
        adaptation: how; as it comes by default.
        on_step: is told of every update.

    Returns:
        On the CPU, numbers of float16 in float32.

    Raises:
        ValueError: the decoder is not causal, or a clip is not as long as its codes.
        TrainingDivergedError: some updates in a row were not finite.
    """
    how = adaptation or Adaptation()
    if not codec.config.acoustic_decoder.causal:
        raise ValueError("this codec's decoder is not causal (causal: false): it has no adapters")
    random = torch.Generator().manual_seed(how.seed)
    heard = VoiceClips(codec, clips, random)
    adapter = _fresh(codec, random)
    parameters = list(adapter.tensors.values())
    optimizer = torch.optim.AdamW(
        parameters, lr=how.learning_rate, betas=(0.8, 0.99), weight_decay=0.0
    )
    device = parameters[0].device
    loss = DecoderLosses(codec).to(device)
    precision = resolve_precision("auto", device)
    bad_steps = BadSteps(MAX_BAD_STEPS, "clips")
    num_steps = how.steps_for(heard.num_frames)
    for step in range(num_steps):
        for group in optimizer.param_groups:
            group["lr"] = how.learning_rate * trapezoid(step, how.warmup_steps, num_steps)
        codes, real = heard.piece(has_prompt=step % 2 == 0)
        made = remade(codec, codes, real, precision, how.takes, random, adapter.rows(how.takes))
        total = torch.stack(list(loss(made, real, how).values())).sum()
        bad_steps.count(step + 1, step_if_finite(total, optimizer, parameters, MAX_NORM))
        if on_step is not None:
            on_step(step + 1, num_steps)
    # NOTE: as a voice's file keeps it, so that a voice sounds the same once it was saved.
    kept = {name: one.detach().cpu() for name, one in adapter.scaled(how.strength).items()}
    return VoiceAdapter(**{name: one.half().float() for name, one in kept.items()})


def adapter_learner(
    codec: RedCodec, on_step: OnStep | None = None
) -> Callable[[Clips], VoiceAdapter]:
    """`adapt_voice` as the making of a voice calls it: clips to an adapter.

    It raises ValueError where the updates were not finite.
    """

    def learn(clips: Clips) -> VoiceAdapter:
        try:
            return adapt_voice(codec, clips, on_step=on_step)
        except TrainingDivergedError as error:
            raise ValueError(f"nothing can be learnt from these clips: {error}") from error

    return learn


def _fresh(codec: RedCodec, random: torch.Generator) -> VoiceAdapter:
    """One that changes nothing yet, on the codec's device, with gradients."""
    device = next(codec.parameters()).device
    shapes = adapter_shapes(codec.config.acoustic_decoder)
    tensors = {name: torch.zeros(shape) for name, shape in shapes.items()}
    for name in ("down", "head_down"):  # what comes back from there begins as zero
        tensors[name].normal_(std=shapes[name][-1] ** -0.5, generator=random)
    return VoiceAdapter(**{name: one.to(device).requires_grad_() for name, one in tensors.items()})
