"""How much memory a run takes: computed from the sizes, not measured."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

from fireredtts2.checkpoint import CheckpointFolder
from fireredtts2.config import LLMConfig, TransformerConfig
from fireredtts2.training.finetune.recipe import Recipe

log = logging.getLogger(__name__)
#: Text ids, codes, codebooks.
PUBLISHED_VOCAB, DECODER_LOSS_WEIGHT = (151_936, 2_051, 16), 0.6
PUBLISHED = LLMConfig("qwen-1.5b", "qwen-200m", *PUBLISHED_VOCAB, DECODER_LOSS_WEIGHT)
PUBLISHED_NAME = "FireRedTTS2"  # of its folder, as README downloads it
BYTES = {"float32": 4, "bfloat16": 2}
#: Optimizer bytes a trained number: two float32 moments; two of 8 bits with scales; Muon's one.
OPTIMIZER_BYTES = {"adamw": 8.0, "adamw8bit": 2.1, "muon": 4.0}
CARDS_GB = (24, 48, 80)
SPLITS = (2, 4, 8)
#: What CUDA, kernels' workspaces and fragments take besides.
OVERHEAD_BYTES = 1.5e9
OVERHEAD_SHARE = 0.08
GB = 1e9


@dataclass(frozen=True)
class Estimate:
    """Bytes of a run's parts on one device; `gathered` only where they are split."""

    num_parameters: int
    num_trained: int
    weights: float
    gradients: float
    optimizer: float
    average: float
    activations: float
    gathered: float

    @property
    def total(self) -> float:
        return self.on(1)

    def on(self, processes: int) -> float:
        """Bytes on each device where `optim.shard` splits among so many.

        All but activations is split; layers are whole while they compute.
        """
        held = self.weights + self.gradients + self.optimizer + self.average
        whole = self.activations + (self.gathered if processes > 1 else 0)
        return (held / processes + whole) * (1 + OVERHEAD_SHARE) + OVERHEAD_BYTES

    def text(self) -> str:
        """The parts in words."""
        parts = ("weights", "gradients", "optimizer", "average", "activations")
        lines = [f"{name:12} {getattr(self, name) / GB:8.2f} GB" for name in parts]
        fits = [card for card in CARDS_GB if self.total <= card * GB]
        return "\n".join([
            f"{self.num_parameters / 1e6:.1f} M numbers, {self.num_trained / 1e6:.1f} M trained",
            *lines,
            f"{'in all':12} {self.total / GB:8.2f} GB with what a GPU takes besides; "
            f"fits {', '.join(f'{card} GB' for card in fits) or f'no card of {CARDS_GB[-1]} GB'}",
            "with optim.shard: "
            + ", ".join(f"{self.on(n) / GB:.2f} GB on each of {n}" for n in SPLITS),
            "Computed from the sizes, not measured.",
        ])  # fmt: skip


def estimate_recipe(recipe: Recipe) -> Estimate:
    """The memory of a recipe's run; the published checkpoint need not have been fetched yet."""
    checkpoint = recipe.model.checkpoint
    if Path(checkpoint).name == PUBLISHED_NAME and not Path(checkpoint).exists():
        log.warning("%s: no such folder yet; the published model's sizes are taken", checkpoint)
        return estimate(PUBLISHED, recipe)
    return estimate(CheckpointFolder(checkpoint).llm_config, recipe)


def estimate(config: LLMConfig, recipe: Recipe) -> Estimate:
    """The memory of a run with a model of these sizes."""
    total, optim = num_parameters(config), recipe.optim
    is_lora = recipe.model.method == "lora"
    trained = num_lora(config, recipe) if is_lora else total
    held = BYTES[recipe.model.weights]
    trained_bytes = 4 if is_lora else held
    weights = total * held + (trained * 4 if is_lora else 0)
    return Estimate(
        num_parameters=total + (trained if is_lora else 0),
        num_trained=trained,
        weights=weights,
        gradients=trained * trained_bytes,
        optimizer=optimizer_bytes(config, recipe, trained),
        average=trained * 4 if optim.ema_decay else 0,
        activations=activation_bytes(config, recipe),
        gathered=gathered_numbers(config) * (held + (0 if is_lora else trained_bytes)),
    )


def optimizer_bytes(config: LLMConfig, recipe: Recipe, trained: int) -> float:
    """Muon keeps one number for a matrix inside the transformers, AdamW two for all others."""
    kind = recipe.optim.optimizer
    if kind != "muon":
        return trained * OPTIMIZER_BYTES[kind]
    inner = sum(num_matrices(part) for part in (config.backbone, config.decoder))
    return inner * OPTIMIZER_BYTES["muon"] + (trained - inner) * OPTIMIZER_BYTES["adamw"]


def num_matrices(size: TransformerConfig) -> int:
    """Numbers in the matrices of a transformer's layers."""
    width, kv = size.embed_dim, size.num_kv_heads * size.head_dim
    return size.num_layers * (
        2 * width * width + 2 * width * kv + 3 * width * size.intermediate_dim
    )


def gathered_numbers(config: LLMConfig) -> int:
    """Numbers that a process of several has whole at a time.

    Tables and heads from a pass's beginning to its end, and two layers: one computes while the
    next one arrives.
    """
    inner = sum(num_matrices(s) + num_vectors(s) for s in (config.backbone, config.decoder))
    layer = max(num_matrices(s) // s.num_layers for s in (config.backbone, config.decoder))
    return num_parameters(config) - inner + 2 * layer


def num_parameters(config: LLMConfig) -> int:
    """Numbers in the whole model."""
    backbone, decoder = config.backbone, config.decoder
    vocab, books = config.audio_vocab_size, config.audio_num_codebooks
    inner = sum(num_matrices(size) + num_vectors(size) for size in (backbone, decoder))
    tables = backbone.embed_dim * (2 * config.text_vocab_size + books * vocab + vocab)
    joint = backbone.embed_dim * decoder.embed_dim + (books - 1) * decoder.embed_dim * vocab
    return inner + tables + joint


def num_vectors(size: TransformerConfig) -> int:
    """Numbers in a transformer's biases and norms."""
    bias = size.embed_dim + 2 * size.num_kv_heads * size.head_dim
    return size.num_layers * (bias + 2 * size.embed_dim) + size.embed_dim


def num_lora(config: LLMConfig, recipe: Recipe) -> int:
    """Numbers in the adapter."""
    total = 0
    for part in recipe.lora.parts:
        size: TransformerConfig = getattr(config, part)
        width, kv = size.embed_dim, size.num_kv_heads * size.head_dim
        wide = width + size.intermediate_dim
        sides = {"q_proj": 2 * width, "k_proj": width + kv, "v_proj": width + kv,
                 "output_proj": 2 * width, "w1": wide, "w2": wide, "w3": wide}  # fmt: skip
        total += size.num_layers * recipe.lora.rank * sum(sides[t] for t in recipe.lora.targets)
    return total


def activation_bytes(config: LLMConfig, recipe: Recipe) -> float:
    """What the way back needs: of all layers, or of one and every layer's input."""
    rows = recipe.data.rows_per_batch
    frames = max(1, int(rows * recipe.data.depth_fraction))
    depth_rows = frames * config.audio_num_codebooks
    held = BYTES["float32" if recipe.optim.precision == "float32" else "bfloat16"]  # as GPUs do
    saves = recipe.optim.gradient_checkpointing
    inside = layers_bytes(config.backbone, rows, held, saves)
    inside += layers_bytes(config.decoder, depth_rows, held, saves)
    # Logits and their softmax in float32, and the gradient: text is the widest by far.
    logits = rows * (config.text_vocab_size + config.audio_vocab_size) * (held + 8)
    depth_logits = depth_rows * config.audio_vocab_size * (held + 8)
    return inside + logits + depth_logits + rows * rows


def layers_bytes(size: TransformerConfig, rows: int, held: int, saves: bool) -> float:
    """Activations of a transformer over so many rows."""
    width, kv = size.embed_dim, size.num_kv_heads * size.head_dim
    # Norms keep float32 copies; q, k and v before and after the rotation; gate, value, product.
    layer = rows * (width * (2 * 8 + 6 * held) + 4 * kv * held + 4 * size.intermediate_dim * held)
    if not saves:
        return size.num_layers * layer
    return size.num_layers * rows * width * held + layer
