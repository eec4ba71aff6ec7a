"""Settings from the environment: what is read, what is refused, and that all doors agree."""

import dataclasses
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
from fireredtts2.serving.jobs.config import JobsConfig, job_variables, jobs_of, user_jobs_path
from fireredtts2.serving.runpod.queue_worker import worker_config

DOCS = Path(__file__).parents[2] / "docs"
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
EVERY_OF_JOBS = {
    "FIREREDTTS2_JOBS": "/data/jobs",
    "FIREREDTTS2_JOBS_REDIS": "redis://:secret@redis:6379/0",
    "FIREREDTTS2_JOBS_PREFIX": "speech",
    "FIREREDTTS2_JOBS_MAX_RUNNING": "2",
    "FIREREDTTS2_JOBS_MAX_PER_KEY": "3",
    "FIREREDTTS2_JOBS_MAX_TURNS": "4",
    "FIREREDTTS2_JOBS_MAX_CHARACTERS": "5",
    "FIREREDTTS2_JOBS_MAX_BYTES": "6",
    "FIREREDTTS2_JOBS_TTL_S": "7.5",
    "FIREREDTTS2_JOBS_LEASE_S": "8",
    "FIREREDTTS2_JOBS_OPTIONAL": "yes",
}
JOBS = JobsConfig(
    path=Path("/data/jobs"),
    redis_url="redis://:secret@redis:6379/0",
    prefix="speech",
    max_running=2,
    max_jobs_per_key=3,
    max_turns=4,
    max_characters=5,
    max_bytes=6,
    ttl_s=7.5,
    lease_s=8.0,
    is_optional=True,
)


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


def test_every_variable_of_jobs_is_read():
    assert set(EVERY_OF_JOBS) == set(job_variables().values())
    assert jobs_of(EVERY_OF_JOBS) == JOBS
    assert serving_config({**EVERY, **EVERY_OF_JOBS}).jobs == JOBS
    assert jobs_of({"FIREREDTTS2_JOBS": " ", "FIREREDTTS2_JOBS_OPTIONAL": ""}) == JobsConfig()
    assert jobs_of(EVERY_OF_JOBS, path=Path("/here"), max_turns=9).path == Path("/here")
    assert "secret" not in repr(serving_config(EVERY_OF_JOBS))


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
        ({"FIREREDTTS2_JOBS_MAX_TURNS": "many"}, "FIREREDTTS2_JOBS_MAX_TURNS='many': must be a"),
        ({"FIREREDTTS2_JOBS_TTL_S": "nan"}, "jobs: ttl_s nan: must be a number above 0"),
        ({"FIREREDTTS2_JOBS_OPTIONAL": "maybe"}, "FIREREDTTS2_JOBS_OPTIONAL='maybe'; allowed: 1"),
        ({"FIREREDTTS2_JOBS_REDIS": "redis://redis"}, "need a folder for their audio too"),
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


def started(environ: dict[str, str], monkeypatch: pytest.MonkeyPatch, *arguments: str) -> object:
    """What the command line makes of an environment, and starts with."""
    seen: dict[str, object] = {}
    monkeypatch.setattr(serving_app, "create_app", lambda config: seen.update(config=config))

    def serve(load: Callable[[], object], host: str, port: int, *_: object, **__: object) -> None:
        load()
        seen.update(at=Address(host, port))

    monkeypatch.setattr(run, "serve", serve)
    for name in (*variables().values(), *job_variables().values()):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    assert main(["serve", *arguments]) == 0
    return seen


def test_the_command_line_reads_the_same(monkeypatch: pytest.MonkeyPatch):
    environ = {**EVERY, "FIREREDTTS2_HOST": "0.0.0.0", "PORT": "8123"}
    seen = started(environ, monkeypatch)
    kept = JobsConfig(path=user_jobs_path(), is_optional=True)  # the command line's own default
    assert seen == {"config": serving_config(environ, jobs=kept), "at": address(environ)}


@pytest.mark.parametrize(
    ("environ", "arguments", "kept"),
    [
        (EVERY_OF_JOBS, (), JOBS),
        ({"FIREREDTTS2_JOBS": "/data/jobs"}, (), JobsConfig(Path("/data/jobs"))),
        ({"FIREREDTTS2_JOBS": "/there"}, ("--jobs", "/here"), JobsConfig(Path("/here"))),
        (
            {"FIREREDTTS2_JOBS_OPTIONAL": "no", "FIREREDTTS2_JOBS_MAX_TURNS": "7"},
            (),
            JobsConfig(user_jobs_path(), max_turns=7),
        ),
    ],
    ids=["every", "a folder", "the option first", "must be there"],
)
def test_so_it_does_with_jobs(
    environ: dict[str, str],
    arguments: tuple[str, ...],
    kept: JobsConfig,
    monkeypatch: pytest.MonkeyPatch,
):
    seen = started({**EVERY, **environ}, monkeypatch, *arguments)
    at = address({})
    assert seen == {"config": serving_config(EVERY, jobs=kept), "at": at}


def test_a_worker_of_runpods_queue_keeps_no_jobs():
    assert worker_config(EVERY) == serving_config(EVERY, api_keys=())
    for name, value in EVERY_OF_JOBS.items():
        with pytest.raises(ValueError, match=f"^{name} is set: .*load_balancer"):
            worker_config({**EVERY, name: value})
    assert worker_config({"FIREREDTTS2_JOBS": ""}).jobs == JobsConfig()


def named(page: str) -> set[str]:
    """Variables that a page's tables tell of."""
    return set(re.findall(r"^\| `(FIREREDTTS2_\w+|PORT)`", (DOCS / page).read_text("utf-8"), re.M))


def test_the_page_names_every_variable():
    told = named("deploy.md")
    known = {*variables().values(), "FIREREDTTS2_HOST", "FIREREDTTS2_PORT", "PORT",
             "FIREREDTTS2_API_KEYS_FILE", "FIREREDTTS2_JOBS", "FIREREDTTS2_JOBS_REDIS"}  # fmt: skip
    assert known - told == set(), "docs/deploy.md lacks these"
    assert told - known == set(), "docs/deploy.md tells of these, which nothing reads"


def test_the_page_of_jobs_names_theirs_and_their_defaults():
    assert named("jobs.md") == set(job_variables().values())
    rows = re.findall(
        r"^\| `(FIREREDTTS2_\w+)` \| ([\d,.]+) \|", (DOCS / "jobs.md").read_text("utf-8"), re.M
    )
    fields = {variable: field for field, variable in job_variables().items()}
    told = {fields[variable]: float(value.replace(",", "")) for variable, value in rows}
    defaults = dataclasses.asdict(JobsConfig())
    numbers = {
        name: value
        for name, value in defaults.items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }
    assert told == numbers
