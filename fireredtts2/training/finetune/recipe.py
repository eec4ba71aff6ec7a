"""A fine-tuning recipe: YAML in, frozen configs out; every fault is named with its place."""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from fireredtts2.training.finetune.extras import load_extra

Kind = TypeVar("Kind")


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
        rows_per_batch: rows of one packed batch; also the longest sample.
        prompt_share: single clips that come after another clip of the same voice.
        dialogue_share: single clips that come as a conversation of two voices.
        prompt_dropout: conversations that lose their first segment.
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
    """How it is learnt. `batches_per_step` counts those of all processes together."""

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
    precision: Literal["bfloat16", "float32"] = "bfloat16"
    gradient_checkpointing: bool = False
    max_bad_steps: int = 10


@dataclass(frozen=True)
class RunRecipe:
    """The run: where it is written, how often it is saved, judged and told of."""

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
class Recipe:
    """A whole run of `fireredtts2 train`."""

    data: DataRecipe
    run: RunRecipe
    model: ModelRecipe = field(default_factory=ModelRecipe)
    lora: LoraRecipe = field(default_factory=LoraRecipe)
    optim: OptimRecipe = field(default_factory=OptimRecipe)

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
    for section in dataclasses.fields(recipe):
        for name, value in vars(getattr(recipe, section.name)).items():
            if isinstance(value, bool) or not isinstance(value, int | float):
                continue
            place = f"{section.name}.{name}"
            low, high = RANGES.get(place, (0, math.inf))
            if not low <= value <= high:
                raise ValueError(f"{place}: {value} given; allowed: {low} to {high}")
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
    """Reads a recipe.

    Args:
        path: a YAML file.
        changes: "section.key=value" each, which replace what the file says; values are YAML.

    Raises:
        ValueError: the file, or a key or value in it, is not right; says what is allowed.
    """
    yaml = load_extra("yaml")
    try:
        values = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(f"{path}: no such recipe") from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"{path}: not valid YAML ({error})") from None
    if not isinstance(values, dict):
        raise ValueError(f"{path}: expected sections with keys, got {type(values).__name__}")
    for change in changes:
        _apply(values, change, yaml)
    try:
        return recipe_from(values)
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from None


def recipe_from(values: Mapping[str, Any]) -> Recipe:
    """A recipe from plain values."""
    return _build(Recipe, values, "")


def _apply(values: dict[str, Any], change: str, yaml: types.ModuleType) -> None:
    place, equals, text = change.partition("=")
    section, dot, key = place.strip().partition(".")
    if not (equals and dot and section and key):
        raise ValueError(f"--set {change!r}: expected section.key=value")
    inner = values.setdefault(section, {})
    if not isinstance(inner, dict):
        raise ValueError(f"--set {change!r}: {section} is no section")
    try:
        inner[key] = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ValueError(f"--set {change!r}: the value is not valid YAML ({error})") from None


def _build(kind: type[Kind], values: object, where: str) -> Kind:
    if not isinstance(values, Mapping):
        raise ValueError(f"{where or 'recipe'}: {values!r} given; expected keys with values")
    fields = {f.name: f for f in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for key in values:
        if key not in fields:
            raise ValueError(_unknown(where, str(key), list(fields)))
    for name, f in fields.items():
        no_default = f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING
        if no_default and name not in values:
            raise ValueError(f"{_place(where, name)}: missing; it has no default")
    hints = get_type_hints(kind)
    return kind(**{k: _value(hints[k], v, _place(where, k)) for k, v in values.items()})


def _unknown(where: str, key: str, known: list[str]) -> str:
    near = difflib.get_close_matches(key, known, n=3)
    advice = f"did you mean {' or '.join(near)}?" if near else f"known: {', '.join(known)}"
    return f"{_place(where, key)}: unknown key; {advice}"


def _place(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _value(hint: Any, value: Any, where: str) -> Any:
    """The value in the field's type, or ValueError."""
    if dataclasses.is_dataclass(hint):
        return _build(hint, value, where)  # type: ignore[arg-type]
    origin = get_origin(hint)
    if origin is Literal:
        if value in get_args(hint):
            return value
        raise ValueError(f"{where}: {value!r} given; allowed: {', '.join(get_args(hint))}")
    if origin in (Union, types.UnionType):
        inner = next(option for option in get_args(hint) if option is not type(None))
        return None if value is None else _value(inner, value, where)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise ValueError(f"{where}: {value!r} given; expected a list")
        return tuple(_value(get_args(hint)[0], item, where) for item in value)
    return _plain(hint, value, where)


def _plain(hint: type, value: Any, where: str) -> Any:
    if hint is float:
        # YAML reads 1e-4, without a point, as a text.
        try:
            number = math.nan if isinstance(value, bool) else float(value)
        except (TypeError, ValueError):
            number = math.nan
        if math.isfinite(number):
            return number
        raise ValueError(f"{where}: {value!r} given; expected a finite number")
    is_right = isinstance(value, hint) and (hint is bool or not isinstance(value, bool))
    if is_right and value != "":
        return value
    names = {int: "a whole number", bool: "true or false", str: "a text"}
    raise ValueError(f"{where}: {value!r} given; expected {names[hint]}")
