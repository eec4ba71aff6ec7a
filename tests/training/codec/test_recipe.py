"""Recipes: the shipped ones are right, and faults are named."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("yaml", reason="recipes need the training extra")


from fireredtts2.codec import RedCodec
from fireredtts2.config import CodecConfig
from fireredtts2.training.codec import decoding_parts, memory, stage_one, stage_two
from fireredtts2.training.codec.memory import estimate_recipe
from fireredtts2.training.codec.recipe import read_recipe, recipe_from
from tests import tiny

FOLDER = Path(__file__).parents[3] / "recipes" / "codec"
RECIPES = sorted(FOLDER.glob("*.yaml"))
MakeValues = Callable[..., dict[str, Any]]


def test_there_are_recipes() -> None:
    assert {path.stem for path in RECIPES} >= {
        "mini-stage-one", "mini-stage-two", "official-stage-one", "official-stage-two", "try",
    }  # fmt: skip


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_shipped_recipes_are_right_and_can_be_estimated(path: Path) -> None:
    estimate = estimate_recipe(read_recipe(path))
    is_official = path.stem.startswith("official")
    assert 1e9 < estimate.num_parameters < 2e9 if is_official else estimate.num_parameters < 5e7
    assert 0 < estimate.num_trained < estimate.num_parameters
    assert estimate.activations > 0
    assert "not measured" in estimate.text()
    page = (FOLDER.parents[1] / "docs" / "train-codec.md").read_text(encoding="utf-8")
    millions = (estimate.num_parameters, estimate.num_trained, estimate.num_judges)
    cells = [f"{count / 1e6:.1f}" for count in millions] + [f"{estimate.total / 1e9:.1f}"]
    row = f"| `{path.stem}` | {' | '.join(cells)} |\n"
    assert row in page or path.stem == "try"


def test_the_mini_recipe_has_the_embedded_sizes() -> None:
    from fireredtts2.checkpoint import CheckpointFolder

    config = read_recipe(FOLDER / "mini-stage-one.yaml").codec_config
    embedded = CheckpointFolder("mini").codec_config
    assert config is not None
    for part in dataclasses.fields(CodecConfig):
        mine, theirs = (dataclasses.asdict(getattr(c, part.name)) for c in (config, embedded))
        assert mine == theirs


@pytest.mark.parametrize("path", sorted(FOLDER.glob("official-*")), ids=lambda path: path.stem)
def test_official_recipes_have_the_known_sizes(path: Path) -> None:
    from fireredtts2.config import WHISPER_LARGE_V3

    config = read_recipe(path).codec_config
    assert config is not None
    assert config.ssl == WHISPER_LARGE_V3
    assert (config.rvq.num_quantizers, config.rvq.codebook_size) == (16, 2048)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("try", "optim.lerning_rate=1", "optim.lerning_rate: unknown key; did you mean learning_"),
        ("try", "optimizer.x=1", "optimizer: unknown key; did you mean optim"),
        ("try", "model.stage=three", "'three' given; allowed: one, two"),
        ("try", "model.start=null", "model.start: missing; stage two"),
        ("try", "model.semantic=mini", "model.semantic: stage two takes it"),
        ("try", "data.crop_frames=[1]", "allowed: one or more numbers from 2"),
        ("official-stage-two", "loss.adversarial_frames=13", "shortest of data.crop_frames, 12"),
        ("try", "data.codebooks=[0]", "allowed: from 1"),
        ("try", "optim.betas=[1, 2]", "expected two from 0 to below 1"),
        ("try", "optim.total_steps=0", "0 given; allowed: 1 to"),
        ("try", "data.workers=0", "0 given; allowed: 1 to"),
        ("try", "run.format=onnx", "'onnx' given; allowed: safetensors, pt"),
        ("mini-stage-one", "model.semantic=null", "needs a trained Whisper encoder"),
        ("mini-stage-one", "model.start=mini", "has its own; leave one of them out"),
        ("mini-stage-one", "data.crop_frames=[76]", "stage one takes one number, 2 to 75"),
        ("mini-stage-one", "data.crop_frames=[8, 9]", "stage one takes one number"),
        ("mini-stage-one", "codec=null", "expected section.key=value"),
        ("mini-stage-one", "codec.ssl={}", "codec.ssl: unknown keys"),
        ("mini-stage-one", "codec.upsample={embed_dim: 64}", "rvq.output_dim makes it 256"),
        ("mini-stage-one", "loss.adversarial_from_step=5", "makes no sound to be judged"),
        ("mini-stage-one", "optim.total_steps=400", "would end without codebooks"),
    ],
)
def test_faults_are_named(name: str, change: str, message: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the message is looked at
        read_recipe(FOLDER / f"{name}.yaml", [change])
    assert message in str(error.value)


def test_missing_sections_are_named() -> None:
    with pytest.raises(ValueError, match="model: missing"):
        recipe_from({"data": {"source": "x"}, "run": {"out": "y"}})
    with pytest.raises(ValueError, match=r"data\.source: missing"):
        recipe_from({"model": {"stage": "two"}, "data": {}, "run": {"out": "y"}})


def test_an_estimate_needs_sizes(values: MakeValues) -> None:
    with pytest.raises(ValueError, match="no such folder"):
        estimate_recipe(recipe_from(values("two", model__start="nowhere")))


@pytest.mark.parametrize("kind", ["one", "two"])
def test_counted_numbers_are_those_of_the_model(values: MakeValues, kind: str) -> None:
    recipe = recipe_from(values(kind))
    estimate, codec = estimate_recipe(recipe), tiny.codec()
    assert estimate.num_parameters == sum(p.numel() for p in codec.parameters())
    stage = stage_one if kind == "one" else stage_two
    own = 0
    if kind == "one":
        comparer = stage_one.build_comparer(codec.config, recipe)
        own = sum(p.numel() for p in comparer.parameters())
    trained = sum(p.numel() for p in stage.freeze(codec).parameters() if p.requires_grad)
    assert estimate.num_trained == trained + own


@pytest.mark.parametrize(("content_weight", "takes"), [(0, 1), (20, 1), (0, 2)])
def test_counted_activations_are_those_that_are_kept(
    values: MakeValues, content_weight: float, takes: int
) -> None:
    """On shapes as with values: the same graph keeps the same bytes."""
    recipe = recipe_from(values("two", loss__content_weight=content_weight, loss__takes=takes))
    codec = decoding_parts.freeze(RedCodec(tiny.codec_config()))
    loss = memory._own_parts(codec.config, recipe)
    real = memory._activations(codec, loss, None, recipe)
    assert estimate_recipe(recipe).activations == pytest.approx(real, rel=0.02)


@pytest.mark.parametrize(
    ("change", "more"), [({"loss__content_weight": 20}, 1.01), ({"loss__takes": 2}, 1.5)]
)
def test_what_costs_memory_is_counted(
    values: MakeValues, change: dict[str, float], more: float
) -> None:
    """What Whisper hears, and a second take."""
    without, with_it = (
        estimate_recipe(recipe_from(values("two", **changes))) for changes in ({}, change)
    )
    assert with_it.activations > more * without.activations
