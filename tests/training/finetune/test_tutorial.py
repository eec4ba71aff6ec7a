"""The commands of docs/finetune.md from the data set on, as written, for a few steps."""

import re
import shutil
from pathlib import Path

import pytest

pytest.importorskip("accelerate", reason="fine-tuning needs the training extra")
pytest.importorskip("peft", reason="adapters need the training extra")

from fireredtts2 import FireRedTTS2
from fireredtts2.cli.main import main

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs" / "finetune.md"
FEW_STEPS = [
    "optim.total_steps=2", "run.validate_every=1", "run.save_every=1", "data.rows_per_batch=96",
    "run.device=cpu",
]  # fmt: skip


def test_the_tutorial_works_as_written(
    dataset: Path, tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fireredtts2.checkpoint.MINI_FOLDER", tiny_checkpoint)
    monkeypatch.chdir(tmp_path)
    shutil.copytree(dataset, "dataset")
    (tmp_path / "recipes").symlink_to(ROOT / "recipes")
    commands = re.findall(r"^ *fireredtts2 (train|adapter)( .*)$", PAGE.read_text(), re.MULTILINE)
    assert [name for name, _ in commands] == ["train"] * 3 + ["adapter"] * 2
    for name, rest in commands:
        few = [word for change in FEW_STEPS for word in ("--set", change)]
        assert main([name, *rest.split(), *(few if name == "train" else [])]) == 0
    merged = FireRedTTS2("my_model", device="cpu")
    loaded = FireRedTTS2("mini", device="cpu", adapter="runs/mini-lora/adapter")
    spoken = [t.generate_dialogue(["[S1]Hi."], seed=1, turn_limit_ms=400) for t in (merged, loaded)]
    assert spoken[0].equal(spoken[1])
