"""Settings from the environment: what is read, what is refused, and that all doors agree."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest

from fireredtts2.cli.main import main
from fireredtts2.serving import app as serving_app
from fireredtts2.serving import run
from fireredtts2.serving.address import Address, address
from fireredtts2.serving.config import ServingConfig
from fireredtts2.serving.environment import serving_config, variables
from fireredtts2.serving.jobs.config import JobsConfig, user_jobs_path

DEPLOY_PAGE = Path(__file__).parents[2] / "docs" / "deploy.md"
EVERY = {
    "FIREREDTTS2_MODEL": "/models/official",
    "FIREREDTTS2_DEVICE": "cpu",
    "FIREREDTTS2_DTYPE": "int8",
    "FIREREDTTS2_SLOTS": "7",
    "FIREREDTTS2_QUEUE": "9",
    "FIREREDTTS2_API_KEYS": "first-key-1, second-key",
    "FIREREDTTS2_CORS": "https://a.example, https://b.example",
    "FIREREDTTS2_VOICES": "/data/voices",
}


def test_nothing_set_gives_the_defaults():
    assert serving_config({}) == ServingConfig()
    assert serving_config({"FIREREDTTS2_SLOTS": " "}) == ServingConfig()
    assert address({}) == Address("127.0.0.1", 7860)


def test_every_variable_is_read():
    config = serving_config(EVERY)
    assert config == ServingConfig(
        model="/models/official",
        device="cpu",
        dtype="int8",
        num_slots=7,
        max_waiting=9,
        api_keys=("first-key-1", "second-key"),
        cors_origins=("https://a.example", "https://b.example"),
        voices_path=Path("/data/voices"),
    )


def test_what_is_given_in_code_wins():
    config = serving_config(EVERY, api_keys=(), num_slots=2)
    assert (config.api_keys, config.num_slots, config.max_waiting) == ((), 2, 9)


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"FIREREDTTS2_SLOTS": "four"}, "FIREREDTTS2_SLOTS='four': must be a whole number"),
        ({"FIREREDTTS2_SLOTS": "0"}, "num_slots 0: must be at least 1"),
        ({"FIREREDTTS2_DTYPE": "float16"}, "FIREREDTTS2_DTYPE='float16'; allowed: auto, float32"),
        ({"FIREREDTTS2_API_KEYS": "short"}, "fewer than 8 characters"),
        ({"FIREREDTTS2_API_KEYS_FILE": "/nowhere/keys"}, "FIREREDTTS2_API_KEYS_FILE=/nowhere/keys"),
        (
            {"FIREREDTTS2_API_KEYS_FILE": "/nowhere/keys", "FIREREDTTS2_API_KEYS": "a-long-key"},
            "both set",
        ),
    ],
)
def test_wrong_values_are_named(environ: dict[str, str], message: str):
    with pytest.raises(ValueError, match=re.escape(message)):
        serving_config(environ)


def test_keys_come_from_a_file(tmp_path: Path):
    path = tmp_path / "keys"
    path.write_text("first-key-1\nsecond-key\n", encoding="utf-8")
    assert serving_config({"FIREREDTTS2_API_KEYS_FILE": str(path)}).api_keys == (
        "first-key-1",
        "second-key",
    )
    path.write_text("\n", encoding="utf-8")
    with pytest.raises(ValueError, match="no key"):
        serving_config({"FIREREDTTS2_API_KEYS_FILE": str(path)})


def test_ours_goes_before_the_platforms_port():
    assert address({"PORT": "80"}, "0.0.0.0") == Address("0.0.0.0", 80)
    assert address({"PORT": "80", "FIREREDTTS2_PORT": "81", "FIREREDTTS2_HOST": "::1"}) == Address(
        "::1", 81
    )
    with pytest.raises(ValueError, match="PORT=70000"):
        address({"PORT": "70000"})


def test_a_port_that_kubernetes_made_up_is_explained():
    with pytest.raises(ValueError, match="enableServiceLinks"):
        address({"FIREREDTTS2_PORT": "tcp://10.0.0.1:7860"})


def test_the_command_line_reads_the_same(monkeypatch: pytest.MonkeyPatch):
    seen: dict[str, object] = {}
    monkeypatch.setattr(serving_app, "create_app", lambda config: seen.update(config=config))

    def serve(load: Callable[[], object], host: str, port: int, *_: object) -> None:
        load()
        seen.update(at=Address(host, port))

    monkeypatch.setattr(run, "serve", serve)
    environ = {**EVERY, "FIREREDTTS2_HOST": "0.0.0.0", "PORT": "8123"}
    for name in variables().values():
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert main(["serve"]) == 0
    kept = JobsConfig(path=user_jobs_path(), is_optional=True)  # the command line's own default
    assert seen == {"config": serving_config(environ, jobs=kept), "at": address(environ)}


def test_the_page_names_every_variable():
    told = set(re.findall(r"^\| `(FIREREDTTS2_\w+|PORT)`", DEPLOY_PAGE.read_text("utf-8"), re.M))
    known = {*variables().values(), "FIREREDTTS2_HOST", "FIREREDTTS2_PORT", "PORT",
             "FIREREDTTS2_API_KEYS_FILE"}  # fmt: skip
    assert known - told == set(), "docs/deploy.md lacks these"
    assert told - known == set(), "docs/deploy.md tells of these, which nothing reads"
