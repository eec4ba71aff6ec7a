"""Two processes learn what one learns."""

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
yaml = pytest.importorskip("yaml", reason="recipes need the training extra")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.mark.slow
@pytest.mark.parametrize("method", ["lora", "full"])
def test_two_processes_equal_one(values: Callable[..., Any], tmp_path: Path, method: str) -> None:
    path = tmp_path / "recipe.yaml"
    made = values(model__method=method, lora__dropout=0.0, optim__batches_per_step=4,
                  optim__learning_rate=1e-3)  # fmt: skip
    path.write_text(yaml.safe_dump(made))
    command = ["-m", "fireredtts2", "train", str(path), "--set"]
    torchrun = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port",
                str(free_port())]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for name, start in (("one", []), ("two", torchrun)):
        done = subprocess.run(
            [sys.executable, *start, *command, f"run.out={tmp_path / name}"],
            capture_output=True, text=True, env=environment, timeout=200,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
    states = [
        torch.load(tmp_path / name / "checkpoints" / "step-000000006.pt", weights_only=True)
        for name in ("one", "two")
    ]
    one, two = (state["trainer"]["trained"] for state in states)
    assert one.keys() == two.keys()
    for key in one:
        torch.testing.assert_close(one[key], two[key], rtol=1e-3, atol=1e-4)
