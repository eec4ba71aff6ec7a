"""Container files, compose and the hub's files: what they promise, checked without a daemon."""

import fnmatch
import json
import re
import subprocess
from pathlib import Path

import pytest

from fireredtts2.serving.address import DRAIN_S
from fireredtts2.serving.environment import variables
from fireredtts2.serving.runpod.queue_worker import request_of
from fireredtts2.serving.schemas import DialogueRequest, SpeechRequest
from tests.deploy.dockerfile import copied, stages
from tests.deploy.processes import program

yaml = pytest.importorskip("yaml")

ROOT = Path(__file__).resolve().parents[2]
SERVER, HUB = ROOT / "deploy" / "Dockerfile", ROOT / ".runpod" / "Dockerfile"
BOTH = pytest.mark.parametrize("path", [SERVER, HUB], ids=["server", "hub"])


@BOTH
def test_hadolint_finds_nothing(path: Path):
    hadolint = program("hadolint")
    if hadolint is None:
        pytest.skip("needs hadolint: make test-deploy installs it")
    done = subprocess.run([hadolint, path], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "")


@BOTH
def test_what_is_copied_is_there_and_not_ignored(path: Path):
    rules = [
        line
        for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#")
    ]
    assert rules[0] == "*", "everything is left out unless named"
    allowed = [rule.removeprefix("!") for rule in rules if rule.startswith("!")]
    for stage in stages(path):
        for sources, _ in copied(stage):
            for source in sources:
                assert (ROOT / source).exists(), source
                assert any(fnmatch.fnmatch(source, rule) for rule in allowed), source


@BOTH
def test_no_steps_but_those_that_are_tested(path: Path):
    build, _ = stages(path)
    assert [one.rest for one in build if one.name == "RUN"] == [
        "deploy/install.sh torch",
        "deploy/install.sh package",
    ]


def test_the_hub_builds_the_same():
    def steps(path: Path) -> list[tuple[str, str]]:
        return [(one.name, one.rest) for one in stages(path)[0] if one.name in ("COPY", "RUN")]

    assert steps(HUB) == steps(SERVER)


@BOTH
def test_it_runs_as_nobody_in_a_folder_that_it_may_write(path: Path):
    _, final = stages(path)
    (user,) = [one.rest for one in final if one.name == "USER"]
    assert re.fullmatch(r"[1-9]\d*:0", user), user
    assert [one.rest for one in final if one.name == "WORKDIR"] == ["/data"]
    names = [one.name for one in final]
    assert names.index("USER") < names.index("CMD")
    assert names.count("CMD") == 1


def test_the_server_has_volumes_and_a_health_check():
    _, final = stages(SERVER)
    said = {one.name: one.rest for one in final}
    assert json.loads(said["VOLUME"]) == ["/data", "/models"]
    assert 'CMD ["python", "/opt/fireredtts2/healthcheck.py"]' in said["HEALTHCHECK"]
    assert json.loads(said["CMD"]) == ["fireredtts2", "serve"]


# --- compose ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def services() -> dict[str, dict]:
    return yaml.safe_load((ROOT / "deploy" / "compose.yaml").read_text("utf-8"))["services"]


def test_compose_starts_hardened_servers_on_this_machine_only(services: dict[str, dict]):
    assert set(services) == {"cpu", "cuda"}
    for service in services.values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert all(port.startswith("127.0.0.1:") for port in service["ports"])
        assert int(service["stop_grace_period"].removesuffix("s")) > DRAIN_S
        assert (ROOT / "deploy" / service["build"]["context"]).resolve() == ROOT
        assert (ROOT / service["build"]["dockerfile"]).is_file()
    assert "profiles" not in services["cpu"]
    assert services["cuda"]["profiles"] == ["cuda"]
    (device,) = services["cuda"]["deploy"]["resources"]["reservations"]["devices"]
    assert device["capabilities"] == ["gpu"]


def test_compose_sets_only_what_is_read(services: dict[str, dict]):
    known = {*variables().values(), "FIREREDTTS2_PORT"}
    for service in services.values():
        assert set(service["environment"]) <= known
        arguments = {one.words[0].split("=")[0] for one in stages(SERVER)[0] if one.name == "ARG"}
        assert set(service["build"]["args"]) <= arguments


# --- RunPod's hub -------------------------------------------------------------------------------


def hub_file(name: str) -> dict:
    return json.loads((ROOT / ".runpod" / name).read_text(encoding="utf-8"))


def test_the_hub_sets_only_what_is_read_with_our_defaults():
    config = hub_file("hub.json")["config"]
    assert config["runsOn"] == "GPU"
    settings = {one["key"]: one["input"]["default"] for one in config["env"]}
    assert settings == {
        "FIREREDTTS2_MODEL": "mini",
        "FIREREDTTS2_SLOTS": 4,
        "FIREREDTTS2_DTYPE": "auto",
    }
    assert set(settings) <= set(variables().values())


def test_the_hubs_tests_are_jobs_that_are_taken():
    tests = hub_file("tests.json")["tests"]
    assert {test["name"] for test in tests} == {"speech", "dialogue"}
    voices = {path.stem for path in (ROOT / "fireredtts2/models/mini/voices").iterdir()}
    for test in tests:
        path, asked = request_of(test["input"])
        kind = SpeechRequest if path.endswith("speech") else DialogueRequest
        parsed = kind.model_validate(asked)
        named = {parsed.voice} if isinstance(parsed, SpeechRequest) else set(parsed.voices.values())
        assert named <= voices
