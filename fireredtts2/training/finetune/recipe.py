"""A fine-tuning recipe: YAML in, frozen configs out; every fault is named with its place."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from fireredtts2.training.precision import Precision
from fireredtts2.training.recipe_reading import build, check_ranges, read_as


@dataclass(frozen=True)
class ModelRecipe:
    """What is trained.

    Attributes:
        checkpoint: a checkpoint folder, or "mini".
        gen_type: which of its language models.
        method: all weights, or a low-rank adapter.
        weights: the type that the weights are held in. bfloat16 halves their memory; with "full"
            it wants the 8-bit optimizer, which rounds its updates at random.
    """

    checkpoint: str = "mini"
    gen_type: Literal["dialogue", "monologue"] = "dialogue"
    method: Literal["full", "lora"] = "lora"
    weights: Literal["float32", "bfloat16"] = "float32"


@dataclass(frozen=True)
class LoraRecipe:
    """The adapter, where the method is "lora"."""

    rank: int = 16
    alpha: float = 32.0
    dropout: float = 0.0
    parts: tuple[str, ...] = ("backbone", "decoder")
    targets: tuple[str, ...] = ("q_proj", "k_proj", "v_proj", "output_proj", "w1", "w2", "w3")


@dataclass(frozen=True)
class DataRecipe:
    """What is learnt from.

    Attributes:
        folder: a data set, see `fireredtts2.training.shards`.
        replay: another data set, learnt beside it so that what was known is not forgotten.
        replay_share: of the samples.
        rows_per_batch: rows of one packed batch; also the longest sample. A longer conversation
            is cut into several; a longer clip or turn is left out.
        prompt_share: single clips that come after another clip of the same voice.
        dialogue_share: single clips that come as a conversation of two voices.
        prompt_dropout: conversations that lose their first segment, of those that are not cut.
        shuffle_tags: whether a sample's speakers get other tags in every epoch.
        code_noise: share of the codes read that are those of another frame.
        depth_fraction: share of the frames that the depth decoder learns from.
    """

    folder: str
    replay: str | None = None
    replay_share: float = 0.2
    rows_per_batch: int = 1024
    prompt_share: float = 0.5
    dialogue_share: float = 0.1
    prompt_dropout: float = 0.1
    shuffle_tags: bool = True
    code_noise: float = 0.0
    depth_fraction: float = 0.125


@dataclass(frozen=True)
class OptimRecipe:
    """How it is learnt.

    Attributes:
        batches_per_step: those of all processes together.
        ema_decay: of the averaged weights, which are judged and written; 0: the last ones are.
        precision: of the layers, by autocast; "auto" is bfloat16 where the device is quick in it,
            else float32.
        shard: split the model and its optimizer among the processes (FSDP2), where one device
            cannot hold them; else each process holds all (DDP).
    """

    optimizer: Literal["adamw", "adamw8bit", "muon"] = "adamw"
    learning_rate: float = 1e-4
    muon_rate: float = 2e-3
    weight_decay: float = 0.01
    betas: tuple[float, ...] = (0.9, 0.95)
    schedule: Literal["cosine", "trapezoid", "constant"] = "cosine"
    warmup_steps: int = 20
    total_steps: int = 1000
    batches_per_step: int = 1
    clip_norm: float = 1.0
    ema_decay: float = 0.0
    precision: Precision = "auto"
    gradient_checkpointing: bool = False
    max_bad_steps: int = 10
    shard: bool = False


@dataclass(frozen=True)
class RunRecipe:
    """The run: where it is written, how often it is saved, judged and told of.

    Attributes:
        patience: validations in a row that may bring nothing before the run ends; 0: any number.
        tensorboard: also write `out`/tensorboard.
        wandb: also tell Weights & Biases.
    """

    out: str
    seed: int = 0
    device: Literal["auto", "cpu"] = "auto"
    num_threads: int = 0
    save_every: int = 100
    keep_checkpoints: int = 3
    validate_every: int = 100
    validation_batches: int = 20
    patience: int = 0
    log_every: int = 10
    tensorboard: bool = False
    wandb: bool = False


@dataclass(frozen=True)
class SamplesRecipe:
    """What the model speaks while it learns, into `run.out`/samples/step_N.

    Attributes:
        count: validation clips whose texts are spoken, each after another clip of its voice; 0:
            as many as there are `texts`.
        texts: spoken in place of those clips' own texts.
        every: steps between two times; 0: at every validation.
        device: where they are spoken; with "same" a second copy of the model lies beside the one
            that learns for that time.
        word_errors: whether Whisper listens, where the evaluation extra is installed.
    """

    count: int = 0
    texts: tuple[str, ...] = ()
    every: int = 0
    device: Literal["same", "cpu"] = "same"
    word_errors: bool = True


@dataclass(frozen=True)
class Recipe:
    """A whole run of `fireredtts2 train`."""

    data: DataRecipe
    run: RunRecipe
    model: ModelRecipe = field(default_factory=ModelRecipe)
    lora: LoraRecipe = field(default_factory=LoraRecipe)
    optim: OptimRecipe = field(default_factory=OptimRecipe)
    samples: SamplesRecipe = field(default_factory=SamplesRecipe)

    def __post_init__(self) -> None:
        check(self)

    def as_dict(self) -> dict[str, Any]:
        return dataclasses.asdict(self)


#: (place, lowest, highest) of numbers; what is not here must be 0 or above.
RANGES: Mapping[str, tuple[float, float]] = {
    "lora.rank": (1, 1024),
    "lora.dropout": (0, 0.9),
    "data.replay_share": (0, 0.9),
    "data.rows_per_batch": (16, 65_536),
    "data.prompt_share": (0, 1),
    "data.dialogue_share": (0, 1),
    "data.prompt_dropout": (0, 1),
    "data.code_noise": (0, 0.5),
    "data.depth_fraction": (1e-6, 1),
    "optim.total_steps": (1, 10**9),
    "optim.batches_per_step": (1, 65_536),
    "optim.ema_decay": (0, 0.999999),
    "optim.max_bad_steps": (1, 10**6),
    "samples.count": (0, 1000),
    "run.save_every": (1, 10**9),
    "run.keep_checkpoints": (1, 1000),
    "run.validate_every": (1, 10**9),
    "run.validation_batches": (1, 10**6),
    "run.log_every": (1, 10**9),
}
TARGETS = LoraRecipe.targets
PARTS = LoraRecipe.parts


def check(recipe: Recipe) -> None:
    """Raises ValueError for numbers out of range and choices that do not go together."""
    check_ranges(recipe, RANGES)
    _check_names("lora.targets", recipe.lora.targets, TARGETS)
    _check_names("lora.parts", recipe.lora.parts, PARTS)
    if len(recipe.optim.betas) != 2 or not all(0 <= b < 1 for b in recipe.optim.betas):
        raise ValueError(f"optim.betas: {recipe.optim.betas} given; expected two from 0 to below 1")
    if recipe.data.prompt_share + recipe.data.dialogue_share > 1:
        raise ValueError("data.prompt_share and data.dialogue_share: together above 1")
    _check_method(recipe)


def _check_names(place: str, given: Sequence[str], allowed: Sequence[str]) -> None:
    wrong = [name for name in given if name not in allowed]
    if wrong or not given:
        raise ValueError(f"{place}: {list(given)} given; allowed: one or more of {list(allowed)}")


def _check_method(recipe: Recipe) -> None:
    method, optimizer = recipe.model.method, recipe.optim.optimizer
    if method == "lora" and optimizer == "muon":
        raise ValueError("optim.optimizer: muon is for method full; with lora use adamw")
    if method == "full" and recipe.model.weights == "bfloat16" and optimizer != "adamw8bit":
        raise ValueError(
            "model.weights: bfloat16 with method full needs optim.optimizer adamw8bit, which "
            "rounds its updates at random; others would lose them"
        )


def read_recipe(path: str | Path, changes: Sequence[str] = ()) -> Recipe:
    """Reads a recipe; arguments and errors as for `recipe_reading.read_as`."""
    return read_as(Recipe, path, changes)


def recipe_from(values: Mapping[str, Any]) -> Recipe:
    """A recipe from plain values."""
    return build(Recipe, values)
