"""Recipes: the shipped ones are right, and faults are named."""

from pathlib import Path

import pytest

pytest.importorskip("yaml", reason="recipes need the training extra")

from fireredtts2.training.finetune.memory import (
    PUBLISHED,
    estimate,
    estimate_recipe,
    num_lora,
    num_parameters,
)
from fireredtts2.training.finetune.memory_table import memory_table
from fireredtts2.training.finetune.recipe import read_recipe, recipe_from
from tests import tiny

FOLDER = Path(__file__).parents[3] / "recipes" / "finetune"
RECIPES = sorted(FOLDER.glob("*.yaml"))


def test_there_are_recipes() -> None:
    assert {path.stem for path in RECIPES} >= {
        "mini-lora", "mini-full", "published-lora-24gb", "published-full-80gb",
        "published-monologue",
    }  # fmt: skip


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_shipped_recipes_are_right(path: Path) -> None:
    read_recipe(path)


@pytest.mark.parametrize(
    ("name", "card_gb"),
    [("published-lora-24gb", 24), ("published-full-80gb", 80), ("published-full-48gb", 48)],
)
def test_published_recipes_fit_their_cards(name: str, card_gb: int) -> None:
    assert estimate(PUBLISHED, read_recipe(FOLDER / f"{name}.yaml")).total <= card_gb * 1e9


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("optim.lerning_rate=1", "optim.lerning_rate: unknown key; did you mean learning_rate"),
        ("optimizer.x=1", "optimizer: unknown key; did you mean optim"),
        ("model.method=qlora", "'qlora' given; allowed: full, lora"),
        ("optim.total_steps=many", "expected a whole number"),
        ("optim.total_steps=0", "0 given; allowed: 1 to"),
        ("run.tensorboard=1", "expected true or false"),
        ("optim.learning_rate=.nan", "expected a finite number"),
        ("lora.targets=[q]", "allowed: one or more of"),
        ("data.dialogue_share=1", "together above 1"),
        ("optim.optimizer=muon", "muon is for method full"),
        ("total_steps=1", "expected section.key=value"),
        ("optim.betas=[[[", "not valid YAML"),
        ("data.replay_share=1", "allowed: 0 to 0.9"),
    ],
)
def test_faults_are_named(change: str, message: str) -> None:
    with pytest.raises(ValueError) as error:  # noqa: PT011 - the message is looked at
        read_recipe(FOLDER / "mini-lora.yaml", [change])
    assert message in str(error.value)


def test_a_folder_is_no_recipe() -> None:
    with pytest.raises(ValueError, match="a folder, not a recipe"):
        read_recipe(FOLDER)


def test_a_section_without_keys_may_be_set(tmp_path: Path) -> None:
    path = tmp_path / "own.yaml"
    path.write_text("data: {folder: d}\nrun: {out: o}\nlora:\n")
    assert read_recipe(path, ["lora.rank=3"]).lora.rank == 3


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("optim: {total_steps: 3}\ndata: {folder: d}\nrun: {out: o}\noptim: {}\n", "optim"),
        ("data: {folder: d}\nrun:\n  out: o\n  seed: 1\n  seed: 2\n", "seed"),
    ],
)
def test_a_key_that_stands_twice_is_named(tmp_path: Path, text: str, key: str) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match=rf"not valid YAML \(the key '{key}' stands twice"):
        read_recipe(path)


def test_homes_are_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    changes = ["data.folder=~/speech", "run.out=~/runs/one"]
    recipe = read_recipe(FOLDER / "mini-lora.yaml", changes)
    assert recipe.data.folder == str(tmp_path / "speech")
    assert recipe.run.out == str(tmp_path / "runs" / "one")


def test_a_model_yet_to_be_fetched_has_the_published_sizes(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    changes = [f"model.checkpoint={tmp_path / 'FireRedTTS2'}"]
    told = estimate_recipe(read_recipe(FOLDER / "published-lora-24gb.yaml", changes))
    assert told.num_parameters == num_parameters(PUBLISHED) + told.num_trained
    assert "no such folder yet" in caplog.text
    with pytest.raises((ValueError, FileNotFoundError), match="no such"):
        estimate_recipe(read_recipe(FOLDER / "mini-lora.yaml", ["model.checkpoint=minni"]))


def test_a_missing_key_is_named() -> None:
    with pytest.raises(ValueError, match=r"data\.folder: missing"):
        recipe_from({"data": {}, "run": {"out": "x"}})


def test_numbers_without_a_point_are_read(tmp_path: Path) -> None:
    assert read_recipe(FOLDER / "mini-lora.yaml", ["optim.learning_rate=1e-4"]).optim == (
        read_recipe(FOLDER / "mini-lora.yaml", ["optim.learning_rate=0.0001"]).optim
    )


def test_counted_numbers_are_those_of_the_model() -> None:
    model = tiny.llm()
    assert num_parameters(tiny.llm_config()) == sum(p.numel() for p in model.parameters())


def test_counted_adapter_is_that_of_peft() -> None:
    pytest.importorskip("peft", reason="adapters need the training extra")
    from fireredtts2.training.finetune.lora import inject

    recipe = recipe_from({"data": {"folder": "x"}, "run": {"out": "y"}, "lora": {"rank": 3}})
    model = tiny.llm()
    inject(model, recipe)
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    assert trained == num_lora(tiny.llm_config(), recipe)


def test_checkpointing_and_8_bits_take_less() -> None:
    path = FOLDER / "published-full-80gb.yaml"
    plain = estimate(PUBLISHED, read_recipe(path, ["optim.gradient_checkpointing=false"]))
    saving = estimate(PUBLISHED, read_recipe(path, ["optim.gradient_checkpointing=true"]))
    eight = estimate(PUBLISHED, read_recipe(path, ["optim.optimizer=adamw8bit"]))
    assert saving.activations < plain.activations / 2
    assert eight.optimizer < plain.optimizer / 3
    assert "not measured" in plain.text()


def test_sharding_splits_all_but_activations() -> None:
    found = estimate(PUBLISHED, read_recipe(FOLDER / "published-full-80gb.yaml"))
    assert found.on(1) == found.total
    spared = found.on(1) - found.on(2)
    held = found.weights + found.gradients + found.optimizer + found.average
    assert spared == pytest.approx((held / 2 - found.gathered) * 1.08)
    assert spared > 15e9


def test_the_table_has_every_method_that_a_recipe_may_ask_for() -> None:
    """What is not in it is refused."""
    for method in ("lora", "full"):
        for weights in ("bfloat16", "float32"):
            for optimizer in ("adamw", "adamw8bit", "muon"):
                if f"| {method} | {weights} | {optimizer} |" in memory_table():
                    continue
                values = {"model": {"method": method, "weights": weights},
                          "optim": {"optimizer": optimizer}, "data": {"folder": "x"},
                          "run": {"out": "y"}}  # fmt: skip
                if (method, weights) == ("lora", "float32") and optimizer != "muon":
                    continue  # needs more memory than bfloat16, and learns nothing else
                with pytest.raises(ValueError, match=r"muon is for|needs optim"):
                    recipe_from(values)


def test_the_table_of_the_docs_is_the_computed_one() -> None:
    page = FOLDER.parents[1] / "docs" / "training.md"
    assert memory_table() in page.read_text(encoding="utf-8")
