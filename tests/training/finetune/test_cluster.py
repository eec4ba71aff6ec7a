"""The cluster recipes: they parse, agree with themselves, and start what the program knows."""

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

yaml = pytest.importorskip("yaml", reason="needs the training extra")

FOLDER = Path(__file__).parents[3] / "recipes" / "cluster"
SLURM, KUBERNETES = FOLDER / "slurm.sh", FOLDER / "kubernetes.yaml"
BASH = shutil.which("bash")


def value(arguments: list[str], name: str) -> str:
    """What follows `--name=` among arguments."""
    return next(a.partition("=")[2] for a in arguments if a.startswith(f"--{name}="))


def assert_trains(arguments: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """What torchrun is to start is the command line of this program, and resumes."""
    from fireredtts2.cli.main import main
    from fireredtts2.training.finetune import recipe as module

    at = arguments.index("-m")
    assert arguments[at : at + 2] == ["-m", "fireredtts2"]
    called: list[Path] = []

    def read(path: Path, changes: list[str]) -> None:
        called.append(path)
        raise ValueError("seen")

    monkeypatch.setattr(module, "read_recipe", read)
    assert main(arguments[at + 2 :]) == 2
    assert called == [Path(next(a for a in arguments if a.endswith(".yaml")))]
    assert "--resume" in arguments


@pytest.mark.skipif(BASH is None, reason="needs bash")
def test_slurm_starts_torchrun_on_every_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    subprocess.run([str(BASH), "-n", str(SLURM)], check=True)
    for name, does in (("scontrol", "printf 'node7\\nnode8\\n'"), ("srun", 'printf "%s\\n" "$@"')):
        (tmp_path / name).write_text(f"#!/bin/sh\n{does}\n")
        (tmp_path / name).chmod(0o755)
    environment = {
        "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}",
        "SLURM_JOB_NODELIST": "node[7-8]", "SLURM_NNODES": "2", "SLURM_JOB_ID": "11",
    }  # fmt: skip
    done = subprocess.run(
        [str(BASH), str(SLURM), "recipe.yaml"], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    arguments = done.stdout.split("\n")[:-1]
    assert arguments[0] == "torchrun"
    assert value(arguments, "rdzv-endpoint") == "node7:29500"
    header = SLURM.read_text()
    assert f"#SBATCH --nodes={value(arguments, 'nnodes')}\n" in header
    assert f"#SBATCH --gpus-per-node={value(arguments, 'nproc-per-node')}\n" in header
    assert_trains(arguments, monkeypatch)


@pytest.mark.skipif(BASH is None, reason="needs bash")
def test_slurm_without_a_recipe_says_so() -> None:
    done = subprocess.run([str(BASH), str(SLURM)], capture_output=True, text=True)
    assert done.returncode != 0
    assert "usage: sbatch slurm.sh RECIPE.yaml" in done.stderr


@pytest.fixture
def parts() -> Callable[[str], dict[str, Any]]:
    documents = list(yaml.safe_load_all(KUBERNETES.read_text(encoding="utf-8")))
    return lambda kind: next(d for d in documents if d["kind"] == kind)


def test_kubernetes_pods_find_each_other(
    parts: Callable[[str], dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    service, job = parts("Service"), parts("Job")
    spec, pod = job["spec"], job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    arguments = container["args"]
    assert container["command"] == ["torchrun"]
    assert int(value(arguments, "nnodes")) == spec["completions"] == spec["parallelism"]
    gpus = container["resources"]["limits"]["nvidia.com/gpu"]
    assert int(value(arguments, "nproc-per-node")) == gpus
    # An indexed job's first pod is called NAME-0, under the headless service of its subdomain.
    assert spec["completionMode"] == "Indexed"
    assert pod["subdomain"] == service["metadata"]["name"]
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["selector"].items() <= spec["template"]["metadata"]["labels"].items()
    host = f"{job['metadata']['name']}-0.{service['metadata']['name']}"
    assert value(arguments, "rdzv-endpoint").partition(":")[0] == host
    assert {m["name"] for m in container["volumeMounts"]} == {v["name"] for v in pod["volumes"]}
    assert_trains(arguments, monkeypatch)
