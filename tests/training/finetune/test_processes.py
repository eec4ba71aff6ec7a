"""Several processes learn what one learns, each with the whole model or with a part of it."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("accelerate", reason="fine-tuning needs the training extra")
pytest.importorskip("peft", reason="adapters need the training extra")
pytest.importorskip("yaml", reason="recipes need the training extra")

from fireredtts2.training.finetune.recipe import read_recipe
from fireredtts2.training.finetune.run import Run

MakeValues = Callable[..., dict[str, dict[str, Any]]]
METHODS = {
    "lora": {"model__method": "lora"},
    "full": {"model__method": "full"},
    "muon": {"model__method": "full", "optim__optimizer": "muon"},
    "8bit": {"model__method": "full", "optim__optimizer": "adamw8bit"},
    "lora-bfloat16": {"model__weights": "bfloat16", "optim__gradient_checkpointing": True},
}
#: Rounding that differs turns into whole steps of 8 bits, or of a Muon update in bfloat16.
COARSE = {"muon": 3e-3, "8bit": 3e-3, "lora-bfloat16": 3e-3}
WHOLE, SHARDED = "optim.shard=false", "optim.shard=true"


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def train(processes: int, path: Path, changes: list[str], resume: bool = False) -> None:
    if processes == 1:
        Run(read_recipe(path, changes), resume).carry_out()
        return
    sets = [word for change in changes for word in ("--set", change)]
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes),
         "--master-port", str(free_port()), "-m", "fireredtts2", "train", str(path), *sets,
         *(["--resume"] if resume else [])],
        capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


def checkpoint(out: Path, step: int) -> dict[str, Any]:
    return torch.load(out / "checkpoints" / f"step-{step:09d}.pt", weights_only=True)["trainer"]


def losses(out: Path) -> list[tuple[int, str, float]]:
    rows = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    return [(row["step"], row["part"], row["loss"]) for row in rows]


def assert_close(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor], atol: float) -> None:
    assert one.keys() == two.keys()
    for key in one:
        torch.testing.assert_close(two[key], one[key], rtol=1e-3, atol=atol)


@pytest.fixture
def recipe(values: MakeValues, tmp_path: Path) -> Callable[[str], Path]:
    import yaml

    def written(method: str) -> Path:
        path = tmp_path / "recipe.yaml"
        made = values(lora__dropout=0.0, optim__batches_per_step=4, optim__learning_rate=1e-3,
                      run__validation_batches=3, **METHODS[method])  # fmt: skip
        path.write_text(yaml.safe_dump(made))
        return path

    return written


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "shard"),
    [("lora", WHOLE), ("full", WHOLE), *((method, SHARDED) for method in METHODS)],
)
def test_two_processes_equal_one(
    recipe: Callable[[str], Path], tmp_path: Path, method: str, shard: str
) -> None:
    if method == "8bit":
        pytest.importorskip("torchao.optim", reason="8-bit optimizers need torchao")
    path = recipe(method)
    for name, processes in (("one", 1), ("two", 2)):
        train(processes, path, [f"run.out={tmp_path / name}", shard])
    atol = COARSE.get(method, 1e-4)
    one, two = (checkpoint(tmp_path / name, 6) for name in ("one", "two"))
    for part in ("trained", "average"):
        assert_close(one[part], two[part], atol)
    best = [torch.load(tmp_path / n / "best.pt", weights_only=True) for n in ("one", "two")]
    assert_close(best[0]["weights"], best[1]["weights"], atol)
    for (*place, loss), (*other, same) in zip(
        losses(tmp_path / "one"), losses(tmp_path / "two"), strict=True
    ):
        assert place == other
        assert loss == pytest.approx(same, rel=2e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("method", "before", "after"),
    [("full", 2, 2), ("full", 1, 2), *((method, 2, 1) for method in METHODS)],
)
def test_a_sharded_run_goes_on_with_any_number_of_processes(
    recipe: Callable[[str], Path], tmp_path: Path, method: str, before: int, after: int
) -> None:
    if method == "8bit":
        pytest.importorskip("torchao.optim", reason="8-bit optimizers need torchao")
    path = recipe(method)
    whole_run, cut_run = (
        [f"run.out={tmp_path / name}", SHARDED, "optim.schedule=constant"]
        for name in ("whole", "cut")
    )
    train(1, path, whole_run)
    train(before, path, [*cut_run, "optim.total_steps=4"])
    train(after, path, cut_run, resume=True)
    whole, cut = (checkpoint(tmp_path / name, 6) for name in ("whole", "cut"))
    assert cut["step"] == 6
    for part in ("trained", "average"):
        assert_close(whole[part], cut[part], COARSE.get(method, 1e-4))


@pytest.mark.slow
def test_two_machines_meet_and_learn_what_one_process_does(
    recipe: Callable[[str], Path], tmp_path: Path
) -> None:
    """As recipes/cluster starts them: one torchrun on each, which meet at an address."""
    path = recipe("lora")
    train(1, path, [f"run.out={tmp_path / 'one'}"])
    command = [
        sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1",
        "--rdzv-id=test", "--rdzv-backend=c10d", f"--rdzv-endpoint=localhost:{free_port()}",
        "-m", "fireredtts2", "train", str(path), "--resume", "--set",
        f"run.out={tmp_path / 'two'}",
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    machines = [
        subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        for _ in range(2)
    ]
    for machine in machines:
        _, said = machine.communicate(timeout=300)
        assert machine.returncode == 0, said
    one, two = (checkpoint(tmp_path / name, 6)["trained"] for name in ("one", "two"))
    assert_close(one, two, 1e-4)
