"""The sections of a codec recipe."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from fireredtts2.training.finetune.recipe import RunRecipe
from fireredtts2.training.precision import Precision


@dataclass(frozen=True)
class ModelRecipe:
    """What is trained.

    Attributes:
        stage: "one" trains encoder, quantizer and a decoder that is only for training; "two" keeps
            the codes as they are and trains the causal 24 kHz decoder.
        start: a folder with a codec to begin with, or "mini". Stage two needs one; without one,
            stage one begins with the random weights of `codec`'s sizes.
        semantic: the frozen Whisper encoder of a new codec: a weight file with an encoder under
            Hugging Face's names, a folder with a codec, or "mini".
        decoder: stage one's own: "spectrogram" learns in a small part of the steps; "sound" is the
            paper's, not causal, at 16 kHz, and may have discriminators.
        decoder_layers: transformer layers of stage one's own decoder.
    """

    stage: Literal["one", "two"]
    start: str | None = None
    semantic: str | None = None
    decoder: Literal["spectrogram", "sound"] = "spectrogram"
    decoder_layers: int = 1


@dataclass(frozen=True)
class DataRecipe:
    """What is learnt from.

    Attributes:
        source: a folder of sound files, a manifest of JSON lines, or what `prepare` reads.
        validation: share of the recordings that is held out.
        min_seconds: a shorter sound is left out; so is one beyond `max_seconds`.
        max_seconds: it is read whole once, to see whether it is sound.
        min_rate_hz: sounds of a lower rate are left out: they have no high frequencies to learn.
        faults: whether a sound that cannot be used is left out and counted, or ends the run.
        workers: threads that read sounds ahead; the result is the same for any number.
        chunks_per_batch: stage one: chunks of 6 s in a batch.
        frames_per_batch: stage two: frames (80 ms) in a batch, in crops of one length.
        crop_frames: stage one: one number, how much of each chunk is decoded; stage two: lengths of
            the crops, one of them in each batch.
        codebooks: stage two: how many the decoder gets, one of these in each batch; none is all.
        prompt_share: stage two: of the batches in which the decoder hears the speaker before each
            crop, as with a codec's `prompt_frames` it hears a voice's clip: in another sound of the
            same speaker, which a manifest names, or else the name of the sound's folder.
    """

    source: str
    validation: float = 0.05
    min_seconds: float = 1.0
    max_seconds: float = 3_600.0
    min_rate_hz: int = 16_000
    faults: Literal["skip", "refuse"] = "skip"
    workers: int = 1
    chunks_per_batch: int = 16
    frames_per_batch: int = 120
    crop_frames: tuple[int, ...] = (12, 20, 40, 75, 120)
    codebooks: tuple[int, ...] = ()
    prompt_share: float = 0.0


@dataclass(frozen=True)
class LossRecipe:
    """What is minimised.

    Attributes:
        mel_weight: of the distance of log-mels.
        excitation_weight: stage two, of pitch and periodicity, where the decoder has a harmonic
            source.
        linear_weight: of the distance of single bins.
        loud_weight: stage two, of the distance of magnitudes, in which loud bands weigh most (not
            the paper's); 0 leaves it out.
        content_weight: stage two, of the distance of what the codec's Whisper hears (not the
            paper's); 0 leaves it out.
        takes: stage two: 2 decodes every crop twice, with other noise, and rewards what differs
            (the energy distance); only for a decoder with a noise source, which needs it.
        semantic_weight: stage one: of the semantic features.
        commitment_weight: stage one: of the distance between latents and entries.
        noise_share: stage one: of the latents' deviation, before there is quantization.
        quantize_after_steps: stage one: from here on the codebooks are used.
        dropout_share: stage one: rows that use only their first codebooks.
        whole_from: stage one: share of the run after which the encoders see whole chunks.
        adversarial_from_step: when the discriminators join; null is never.
        discriminators_alone: so many steps from there on train nothing else.
        discriminator_width: 1 is small enough for two cores, 4 the order of the published ones.
        adversarial_frames: in a window that the discriminators see.
        adversarial_windows: in a batch.
        adversarial_weight: mean over discriminators.
        matching_weight: of their features, mean over discriminators and layers.
    """

    mel_weight: float = 15.0
    excitation_weight: float = 5.0
    linear_weight: float = 10.0
    loud_weight: float = 0.0
    content_weight: float = 0.0
    takes: int = 1
    semantic_weight: float = 1.0
    commitment_weight: float = 0.1
    noise_share: float = 0.3
    quantize_after_steps: int = 500
    dropout_share: float = 0.2
    whole_from: float = 0.75
    adversarial_from_step: int | None = None
    discriminators_alone: int = 0
    discriminator_width: int = 1
    adversarial_frames: int = 10
    adversarial_windows: int = 4
    adversarial_weight: float = 4.0
    matching_weight: float = 20.0


@dataclass(frozen=True)
class OptimRecipe:
    """How it is learnt.

    Attributes:
        batches_per_step: whose gradients are accumulated.
        precision: of the layers, by autocast; "auto" is bfloat16 where the device is quick in it,
            else float32.
    """

    learning_rate: float = 6e-4
    discriminator_rate: float = 4e-4
    weight_decay: float = 0.01
    betas: tuple[float, ...] = (0.8, 0.99)
    schedule: Literal["cosine", "trapezoid", "constant"] = "trapezoid"
    warmup_steps: int = 30
    total_steps: int = 1000
    batches_per_step: int = 1
    clip_norm: float = 10.0
    ema_decay: float = 0.0
    precision: Precision = "auto"
    max_bad_steps: int = 10


@dataclass(frozen=True)
class CodecRunRecipe(RunRecipe):
    """The run, as `fireredtts2 train`'s, and what can be heard of it.

    Attributes:
        take: whose weights the result has: the best in validation, or the last. Discriminators
            make speech better to listen to and its mel distance a little larger: take the last.
        num_samples: held-out clips that are written as WAV.
        samples_every: validations between two such writings.
        format: of the result's weights; "pt" is what the published code reads.
    """

    take: Literal["best", "last"] = "best"
    num_samples: int = 4
    samples_every: int = 5
    format: Literal["safetensors", "pt"] = "safetensors"
