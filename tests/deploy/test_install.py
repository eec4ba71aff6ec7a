"""The steps of the container file, done in a plain environment; then the server that they make."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from fireredtts2.audio import read_audio
from fireredtts2.config import OUTPUT_RATE_HZ
from tests.deploy import processes
from tests.deploy.dockerfile import copied, stages

pytestmark = pytest.mark.slow
ROOT = processes.ROOT
BUILD, _ = stages(ROOT / "deploy" / "Dockerfile")
HEALTH_CHECK = ROOT / "deploy" / "healthcheck.py"


def carry(names: list[str], target: str, source: Path) -> None:
    """What COPY does."""
    into = source / target
    for name in names:
        path = ROOT / name
        if path.is_dir():
            shutil.copytree(path, into, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            into.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, into)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An environment made of what the file copies, by what the file runs.

    TORCH_INDEX of this process, where it is set, says where torch comes from.
    """
    folder = tmp_path_factory.mktemp("image")
    source, prefix = folder / "src", folder / "opt"
    source.mkdir()
    env = processes.environment(PREFIX=prefix, DEVICE="cpu", EXTRAS="serving")
    del env["PYTHONPATH"]
    # python3 is the image's there, and the one of the tests here.
    base = Path(sys.base_prefix) / "bin"
    env["PATH"] = f"{base}:{env['PATH']}"
    for one in BUILD:
        if one.name == "COPY":
            ((names, target),) = copied([one])
            carry(names, target, source)
        elif one.name == "RUN":
            done = subprocess.run(
                ["/bin/sh", "-c", one.rest], cwd=source, env=env, capture_output=True, text=True
            )
            assert done.returncode == 0, done.stderr[-3_000:]
    return prefix


def test_versions_are_the_pinned_ones(installed: Path):
    listed = subprocess.run(
        [installed / "bin" / "python", "-m", "pip", "list", "--format", "json"],
        capture_output=True, check=True,
    )  # fmt: skip
    have = {one["name"].lower(): one["version"] for one in json.loads(listed.stdout)}
    pins = dict(
        re.findall(r"^([\w-]+)==([\w.]+)", (ROOT / "constraints.txt").read_text("utf-8"), re.M)
    )
    pinned = {name.lower().replace("_", "-"): version for name, version in pins.items()}
    wrong = {
        name: (version, pinned[name])
        for name, version in have.items()
        if name in pinned and version.split("+")[0] != pinned[name]
    }
    assert wrong == {}
    assert {"torch", "fastapi", "uvicorn", "fireredtts2"} <= set(have)
    assert "pytest" not in have, "the image has what only tests need"


@pytest.fixture
def server(installed: Path, tmp_path: Path) -> Iterator[tuple[str, dict[str, str]]]:
    """The image's command in the image's environment."""
    port = processes.free_port()
    env = processes.environment(
        FIREREDTTS2_PORT=port, FIREREDTTS2_VOICES=tmp_path / "voices", HOME=tmp_path
    )
    del env["PYTHONPATH"]
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen(
            [installed / "bin" / "fireredtts2", "serve"],
            env=env, cwd=tmp_path, stdin=subprocess.PIPE, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        yield f"http://127.0.0.1:{port}", env
    finally:
        processes.stop(process)


def is_healthy(installed: Path, env: dict[str, str]) -> bool:
    command = [installed / "bin" / "python", HEALTH_CHECK]
    return subprocess.run(command, env=env, capture_output=True).returncode == 0


def test_the_image_serves_and_says_that_it_is_healthy(
    installed: Path, server: tuple[str, dict[str, str]]
):
    address, env = server
    processes.until(lambda: is_healthy(installed, env), 60, "a healthy server")
    answer = httpx.post(
        f"{address}/v1/audio/speech",
        json={"input": "Hello there.", "voice": "af_heart", "seed": 1},
        timeout=60,
    )
    assert answer.status_code == 200, answer.text
    assert read_audio(answer.content, OUTPUT_RATE_HZ).shape[0] > OUTPUT_RATE_HZ / 4


def test_nothing_that_listens_is_not_healthy(installed: Path):
    env = processes.environment(FIREREDTTS2_PORT=processes.free_port())
    assert not is_healthy(installed, env)


@pytest.mark.parametrize(
    ("arguments", "env", "message"),
    [
        ([], {}, "usage"),
        (["everything"], {}, "usage"),
        (["torch"], {"DEVICE": "tpu"}, "DEVICE=tpu; allowed: cpu, cuda"),
    ],
)
def test_wrong_steps_are_refused(arguments: list[str], env: dict[str, str], message: str):
    done = subprocess.run(
        ["/bin/sh", ROOT / "deploy" / "install.sh", *arguments],
        env=processes.environment(**env), capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 2
    assert message in done.stderr
