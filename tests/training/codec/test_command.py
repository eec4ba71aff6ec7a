"""`fireredtts2 train-codec`: what it says, and how it ends."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("yaml", reason="recipes need the training extra")

import yaml

from fireredtts2.cli.errors import ExitCode
from fireredtts2.cli.main import main
from tests import tiny
from tests.training.codec.conftest import start_with

MakeValues = Callable[..., dict[str, Any]]
SHIPPED = Path(__file__).parents[3] / "recipes" / "codec"


@pytest.fixture
def recipe(values: MakeValues, tmp_path: Path) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(values("two", optim__total_steps=2)))
    return path


def test_a_run_and_its_resumption(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train-codec", str(recipe)]) == ExitCode.OK
    said = capsys.readouterr().out
    assert f"{tmp_path / 'run/codec'}: written after 2 steps" in said
    assert "6 sounds, 0.00 h, 1 held out; 0 left out" in said
    assert "mel distance of held-out sounds: " in said
    assert main(["train-codec", str(recipe)]) == ExitCode.USAGE
    assert "--resume goes on with it" in capsys.readouterr().err
    assert main(["train-codec", str(recipe), "--resume", "--set", "optim.total_steps=3"]) == 0
    assert "written after 3 steps" in capsys.readouterr().out


def test_an_estimate_runs_nothing(
    recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train-codec", str(recipe), "--estimate"]) == ExitCode.OK
    assert "not measured" in capsys.readouterr().out
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("change", "code", "message"),
    [
        ("data.sauce=x", ExitCode.USAGE, "did you mean source"),
        ("data.source=nowhere", ExitCode.USAGE, "nowhere: no such file or folder"),
        ("model.start=nowhere", ExitCode.USAGE, "nowhere: no such folder"),
        ("data.codebooks=[5]", ExitCode.USAGE, "this codec has 4"),
    ],
)
def test_mistakes_are_named(
    recipe: Path, change: str, code: ExitCode, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["train-codec", str(recipe), "--set", change]) == code
    assert message in capsys.readouterr().err


#: What makes the shipped recipes small: the sizes of the tiny codec, a few steps.
SMALL = (
    "optim.total_steps=4", "optim.warmup_steps=1", "optim.batches_per_step=1",
    "run.validate_every=4", "run.save_every=4", "run.device=cpu", "run.validation_batches=1",
    "data.min_rate_hz=16000", "data.validation=0.2",
)  # fmt: skip
SMALL_ONE = (
    "model.decoder_layers=1", "data.chunks_per_batch=2", "data.crop_frames=[8]",
    "loss.quantize_after_steps=1",
)  # fmt: skip
SMALL_TWO = ("data.frames_per_batch=16", "data.crop_frames=[6, 12]", "data.codebooks=[2, 4]")
ADVERSARIAL = (
    "loss.adversarial_from_step=2", "loss.discriminators_alone=1", "loss.adversarial_frames=2",
    "loss.adversarial_windows=1", "loss.discriminator_width=1",
)  # fmt: skip


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.yaml")), ids=lambda path: path.stem)
def test_shipped_recipes_run_on_a_tiny_codec(
    path: Path, values: MakeValues, tiny_checkpoint: Path, sounds: Path, tmp_path: Path
) -> None:
    shipped = yaml.safe_load(path.read_text())
    is_first = shipped["model"]["stage"] == "one"
    if is_first:
        shipped["codec"] = values("one")["codec"]
        shipped["model"]["semantic"] = str(tiny_checkpoint)
    else:
        shipped.pop("codec", None)
        codec = tiny.codec(noise_source=shipped["loss"].get("takes", 1) > 1)
        start = start_with(codec, tiny_checkpoint, tmp_path / "start")
        shipped["model"]["start"] = str(start)
    copy = tmp_path / path.name
    copy.write_text(yaml.safe_dump(shipped))
    changes = [*SMALL, *(SMALL_ONE if is_first else SMALL_TWO)]
    changes += ADVERSARIAL if shipped["loss"].get("adversarial_from_step") is not None else ()
    changes += [f"data.source={sounds}", f"run.out={tmp_path / 'run'}"]
    options = [word for change in changes for word in ("--set", change)]
    assert main(["train-codec", str(copy), *options]) == ExitCode.OK
    suffix = "pt" if path.stem.startswith("official") else "safetensors"
    assert (tmp_path / "run" / "codec" / f"codec.{suffix}").is_file()
