"""What a codec recipe may say: ranges, and choices that go together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from fireredtts2.config import CodecConfig
from fireredtts2.training.codec.recipe_sections import (
    DataRecipe,
    LossRecipe,
    ModelRecipe,
    OptimRecipe,
)
from fireredtts2.training.recipe_reading import check_ranges

#: (lowest, highest) by place; what is not here must be 0 or above.
RANGES: Mapping[str, tuple[float, float]] = {
    "model.decoder_layers": (1, 64),
    "data.validation": (0, 0.5),
    "data.min_seconds": (0.1, 3_600),
    "data.max_seconds": (1, 86_400),
    "data.workers": (1, 256),
    "data.chunks_per_batch": (1, 4_096),
    "data.frames_per_batch": (1, 10**6),
    "data.prompt_share": (0, 1),
    "loss.takes": (1, 2),
    "loss.dropout_share": (0, 1),
    "loss.whole_from": (0, 1),
    "loss.discriminator_width": (1, 16),
    "loss.adversarial_frames": (1, 10_000),
    "loss.adversarial_windows": (1, 4_096),
    "optim.total_steps": (1, 10**9),
    "optim.batches_per_step": (1, 65_536),
    "optim.ema_decay": (0, 0.999999),
    "optim.max_bad_steps": (1, 10**6),
    "run.save_every": (1, 10**9),
    "run.keep_checkpoints": (1, 1000),
    "run.validate_every": (1, 10**9),
    "run.validation_batches": (1, 10**6),
    "run.log_every": (1, 10**9),
    "run.samples_every": (1, 10**9),
}
#: Spectra mirror the ends of their window, so that a crop must be longer than half of the largest.
MIN_CROP_FRAMES = 2
CHUNK_FRAMES = 75
RESAMPLING = 4  # 50 Hz to 12.5 Hz and back


class Sections(Protocol):
    """What is looked at of a recipe."""

    @property
    def model(self) -> ModelRecipe: ...
    @property
    def data(self) -> DataRecipe: ...
    @property
    def loss(self) -> LossRecipe: ...
    @property
    def optim(self) -> OptimRecipe: ...
    @property
    def codec(self) -> Mapping[str, object] | None: ...
    @property
    def codec_config(self) -> CodecConfig | None: ...


def check(recipe: Sections) -> None:
    """Raises ValueError for numbers out of range and choices that do not go together."""
    check_ranges(recipe, RANGES)
    if len(recipe.optim.betas) != 2 or not all(0 <= b < 1 for b in recipe.optim.betas):
        raise ValueError(f"optim.betas: {recipe.optim.betas} given; expected two from 0 to below 1")
    crops, window = recipe.data.crop_frames, recipe.loss.adversarial_frames
    if not crops or min(crops) < MIN_CROP_FRAMES:
        raise ValueError(
            f"data.crop_frames: {list(crops)} given; allowed: one or more numbers from "
            f"{MIN_CROP_FRAMES}"
        )
    if recipe.loss.adversarial_from_step is not None and window > min(crops):
        raise ValueError(
            f"loss.adversarial_frames: {window} given, above the shortest of data.crop_frames, "
            f"{min(crops)}"
        )
    if any(books < 1 for books in recipe.data.codebooks):
        raise ValueError(f"data.codebooks: {list(recipe.data.codebooks)} given; allowed: from 1")
    if recipe.codec_config is not None:
        check_sizes(recipe.codec_config)
    (_check_one if recipe.model.stage == "one" else _check_two)(recipe)


def check_sizes(config: CodecConfig) -> None:
    """Raises ValueError where two parts of a codec do not fit each other."""
    branches = config.ssl_adaptor.out_dim + config.acoustic_encoder.embed_dim
    pairs = (
        ("ssl_adaptor.in_dim", config.ssl_adaptor.in_dim, "ssl.embed_dim", config.ssl.embed_dim),
        ("downsample.embed_dim", config.downsample.embed_dim, "both branches together", branches),
        ("rvq.input_dim", config.rvq.input_dim, "downsample.embed_dim", branches),
        ("upsample.embed_dim", config.upsample.embed_dim, "rvq.output_dim", config.rvq.output_dim),
        ("semantic_decoder.in_dim", config.semantic_decoder.in_dim, "upsample.embed_dim",
         config.upsample.embed_dim),
        ("semantic_decoder.out_dim", config.semantic_decoder.out_dim, "ssl.embed_dim",
         config.ssl.embed_dim),
        ("acoustic_decoder.embed_dim", config.acoustic_decoder.embed_dim, "upsample.embed_dim",
         config.upsample.embed_dim),
        ("downsample.avg_pooler", config.downsample.avg_pooler, "the frame rate", RESAMPLING),
        ("upsample.stride", config.upsample.stride, "the frame rate", RESAMPLING),
    )  # fmt: skip
    for name, given, other, wanted in pairs:
        if given != wanted:
            raise ValueError(f"codec.{name}: {given} given; {other} makes it {wanted}")


def _check_one(recipe: Sections) -> None:
    model, crops = recipe.model, recipe.data.crop_frames
    if len(crops) != 1 or crops[0] > CHUNK_FRAMES:
        raise ValueError(
            f"data.crop_frames: {list(crops)} given; stage one takes one number, {MIN_CROP_FRAMES} "
            f"to {CHUNK_FRAMES}"
        )
    if model.start is None and recipe.codec is None:
        raise ValueError("codec: missing; without model.start stage one needs a new codec's sizes")
    if model.start is None and model.semantic is None:
        raise ValueError(
            "model.semantic: missing; a new codec needs a trained Whisper encoder: a weight file, "
            "a folder with a codec, or mini"
        )
    if model.start is not None and model.semantic is not None:
        raise ValueError("model.semantic: a codec to start from has its own; leave one of them out")
    if model.start is None and recipe.loss.quantize_after_steps >= recipe.optim.total_steps:
        raise ValueError(
            f"loss.quantize_after_steps: {recipe.loss.quantize_after_steps} given; a run of "
            f"{recipe.optim.total_steps} steps would end without codebooks"
        )
    if model.decoder == "spectrogram" and recipe.loss.adversarial_from_step is not None:
        raise ValueError(
            "loss.adversarial_from_step: a spectrogram decoder makes no sound to be judged; use "
            "model.decoder sound, or null"
        )


def _check_two(recipe: Sections) -> None:
    if recipe.model.start is None:
        raise ValueError(
            "model.start: missing; stage two trains the decoder of a codec that there is: what "
            "stage one wrote, a checkpoint folder, or mini"
        )
    if recipe.model.semantic is not None:
        raise ValueError("model.semantic: stage two takes it from model.start; leave it out")
