"""How much memory a codec's training takes: computed on shapes without values, not measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn

from fireredtts2.checkpoint import CheckpointFolder
from fireredtts2.codec import RedCodec
from fireredtts2.config import CodecConfig
from fireredtts2.training.codec import decoding_parts, stage_one, stage_two
from fireredtts2.training.codec.adversarial import decoded
from fireredtts2.training.codec.batches import CHUNK_FRAMES
from fireredtts2.training.codec.decoder_losses import LINEAR_WINDOWS
from fireredtts2.training.codec.recipe import CodecRecipe
from fireredtts2.training.codes_data import PROMPT_FRAMES
from fireredtts2.training.content_loss import ContentLoss
from fireredtts2.training.discriminators import Discriminators
from fireredtts2.training.finetune.memory import (
    CARDS_GB,
    GB,
    OVERHEAD_BYTES,
    OVERHEAD_SHARE,
)
from fireredtts2.training.spectral_losses import MultiResolutionMelLoss
from fireredtts2.weights import build_empty

Module = TypeVar("Module", bound=nn.Module)
BYTES = 4  # weights, gradients and averages are float32
MOMENTS = 2


@dataclass(frozen=True)
class CodecEstimate:
    """Bytes of a run's parts on one device.

    Attributes:
        num_parameters: of the codec, the frozen encoder included.
        num_trained: of them, with the decoder that only training uses.
        num_judges: of the discriminators.
        activations: what the way back needs, all of it counted in float32: with bfloat16 it is
            less.
    """

    num_parameters: int
    num_trained: int
    num_judges: int
    weights: float
    gradients: float
    optimizer: float
    average: float
    activations: float

    @property
    def total(self) -> float:
        parts = (self.weights, self.gradients, self.optimizer, self.average, self.activations)
        return sum(parts) * (1 + OVERHEAD_SHARE) + OVERHEAD_BYTES

    def text(self) -> str:
        """The parts in words."""
        parts = ("weights", "gradients", "optimizer", "average", "activations")
        lines = [f"{name:12} {getattr(self, name) / GB:8.2f} GB" for name in parts]
        fits = [f"{card} GB" for card in CARDS_GB if self.total <= card * GB]
        return "\n".join([
            f"{self.num_parameters / 1e6:.1f} M numbers, {self.num_trained / 1e6:.1f} M trained, "
            f"discriminators {self.num_judges / 1e6:.1f} M",
            *lines,
            f"{'in all':12} {self.total / GB:8.2f} GB with what a GPU takes besides; "
            f"fits {', '.join(fits) or f'no card of {CARDS_GB[-1]} GB'}",
            "Computed on the shapes, activations as if all were float32; not measured.",
        ])  # fmt: skip


def estimate_recipe(recipe: CodecRecipe) -> CodecEstimate:
    """The memory of a recipe's run."""
    config, is_first = sizes_of(recipe), recipe.model.stage == "one"
    codec = _without_values(lambda: RedCodec(config))
    trained = stage_one.freeze(codec) if is_first else decoding_parts.freeze(codec)
    own = _without_values(lambda: _own_parts(config, recipe))
    judges = None
    if recipe.loss.adversarial_from_step is not None:
        judges = _without_values(lambda: Discriminators(recipe.loss.discriminator_width))
    with torch.device("meta"):
        activations = _activations(trained, own, judges, recipe)
    num_own = _count(own)
    num_trained = num_own + sum(p.numel() for p in trained.parameters() if p.requires_grad)
    learning = BYTES * (num_trained + _count(judges))
    return CodecEstimate(
        num_parameters=_count(trained),
        num_trained=num_trained,
        num_judges=_count(judges),
        weights=BYTES * (_count(trained) + num_own + _count(judges)),
        gradients=learning,
        optimizer=MOMENTS * learning,
        average=BYTES * num_trained if recipe.optim.ema_decay else 0,
        activations=activations,
    )


def sizes_of(recipe: CodecRecipe) -> CodecConfig:
    """The codec's sizes: those of the folder it starts from, where that is there.

    Raises:
        ValueError: the folder is not there, and the recipe names no sizes.
    """
    if recipe.model.start is not None:
        try:
            return CheckpointFolder(recipe.model.start).codec_config
        except ValueError:
            if recipe.codec_config is None:
                raise
    assert recipe.codec_config is not None
    return recipe.codec_config


def _own_parts(config: CodecConfig, recipe: CodecRecipe) -> nn.Module:
    """What compares a stage's result with what it should be."""
    if recipe.model.stage == "one":
        return stage_one.build_comparer(config, recipe)
    return MultiResolutionMelLoss(linear_windows=LINEAR_WINDOWS)


def _without_values(build: Callable[[], Module]) -> Module:
    # Filters and windows are computed from numbers, so they are built for real first.
    return build_empty(build).to("meta")


def _count(module: nn.Module | None) -> int:
    return 0 if module is None else sum(p.numel() for p in module.parameters())


class _Kept:
    """Adds up what autograd keeps for the way back, every tensor once."""

    def __init__(self) -> None:
        self.num_bytes = 0
        self._seen: list[Tensor] = []
        self._storages: set[int] = set()

    def pack(self, tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        is_weight = isinstance(tensor, nn.Parameter)
        if not is_weight and storage._cdata not in self._storages:
            self._storages.add(storage._cdata)
            self._seen.append(tensor)  # a storage that is freed could come again under its number
            self.num_bytes += storage.nbytes()
        return tensor


def _activations(
    codec: RedCodec, own: nn.Module, judges: Discriminators | None, recipe: CodecRecipe
) -> float:
    """Bytes that one batch's way back needs."""
    kept = _Kept()
    with torch.autograd.graph.saved_tensors_hooks(kept.pack, lambda tensor: tensor):
        is_first = recipe.model.stage == "one"
        made = (_stage_one if is_first else _stage_two)(codec, own, recipe)
        if judges is not None and made is not None:
            per_frame = stage_two.DecoderStage.samples_per_frame
            if is_first:
                per_frame = stage_one.samples_per_frame(recipe)
            size = recipe.loss.adversarial_frames * per_frame
            seen = made[:1, :size].expand(recipe.loss.adversarial_windows, size)
            judges.loss(seen, torch.empty_like(seen))
    return float(kept.num_bytes)


def _stage_one(codec: RedCodec, own: nn.Module, recipe: CodecRecipe) -> Tensor | None:
    rows, frames = recipe.data.chunks_per_batch, recipe.data.crop_frames[0]
    config = codec.config
    whole = CHUNK_FRAMES if recipe.loss.whole_from < 1 else frames
    mel = torch.empty(rows, config.ssl.num_mels, whole * stage_one.MEL_STEPS)
    semantic = torch.empty(rows, whole * stage_one.SEMANTIC_STEPS, config.ssl.embed_dim)
    values = codec.rvq(codec.encoded(mel, semantic).mT).values
    features = codec.upsample(values[:, :, :frames].mT)
    codec.semantic_decoder(features)
    target = torch.empty(rows, frames * stage_one.samples_per_frame(recipe))
    return own.compared(features, target, None)[2]  # type: ignore[operator]


def _stage_two(codec: RedCodec, own: nn.Module, recipe: CodecRecipe) -> Tensor | None:
    rows, frames = _largest_batch(recipe)
    codes = torch.zeros(rows, codec.num_codebooks, frames, dtype=torch.long)
    takes = decoded(codec, codes.repeat(recipe.loss.takes, 1, 1), None)
    made = takes[:rows]
    own(takes, torch.empty_like(made), bool(recipe.loss.loud_weight))
    if recipe.loss.content_weight:
        with torch.device("cpu"):  # its filters are computed from numbers
            content = ContentLoss(codec.ssl, codec.config.ssl.num_mels)
        content.to(made.device).compared(made, torch.empty_like(made))
    return made


def _largest_batch(recipe: CodecRecipe) -> tuple[int, int]:
    """Rows and frames of stage two's largest batch, prompts among the frames."""
    prompt = max(PROMPT_FRAMES) if recipe.data.prompt_share else 0
    sizes = [
        (max(1, recipe.data.frames_per_batch // (frames + prompt // 2)), frames + prompt)
        for frames in recipe.data.crop_frames
    ]
    return max(sizes, key=lambda size: (size[0] * size[1], size[1]))
