"""Values of a run stand over those of config.toml."""

from pathlib import Path

import pytest

from fireredtts2.training.train_llm import LlmTrainConfig
from recipes.mini.settings import CHECKS, DEFAULTS, SETTINGS_ENV, run_settings, settings


def test_values_of_a_run_replace_single_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(SETTINGS_ENV, raising=False)
    plain = settings()
    own = tmp_path / "own.toml"
    own.write_text("[train_llm]\ntotal_steps = 7\n[llm.sampling]\ntopk = 3\n")
    monkeypatch.setenv(SETTINGS_ENV, str(own))
    changed = settings()
    assert changed["train_llm"].pop("total_steps") == 7
    assert changed["llm"]["sampling"].pop("topk") == 3
    plain["train_llm"].pop("total_steps")
    plain["llm"]["sampling"].pop("topk")
    assert changed == plain


@pytest.mark.parametrize("name", ["go_on.toml", "renew_codec.toml"])
def test_the_values_for_going_on_name_what_there_is(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(SETTINGS_ENV, raising=False)
    plain = settings()
    monkeypatch.setenv(SETTINGS_ENV, str(DEFAULTS.with_name(name)))
    assert {name: set(table) for name, table in settings().items()} == {
        name: set(table) for name, table in plain.items()
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[trian_llm]", "unknown table 'trian_llm'; allowed: codec, train_codec"),
        ("train_llm = 7", "train_llm: 7 given; expected a table"),
        ("[train_llm]\ntotal_step = 7", "train_llm.total_step: unknown key; did you mean total_st"),
        ("[train_llm]\ntotal_steps = 7.5", "train_llm.total_steps: 7.5 given; expected a whole"),
        ("[guide_bare]\nsteps = 7", "guide_bare.steps: unknown key"),
        ("[codec.rvq]\nnum_quantizer = 4", r"codec.rvq: unknown keys \['num_quantizer'\]"),
        ("[llm]\nflavor = 'b'", r"unknown keys \['flavor'\]"),
        ("[llm.sampling]\ntop = 3", r"llm.sampling: unknown keys \['top'\]"),
        ("[text]\nphoneme = 'p'", r"text: unknown keys \['phoneme'\]"),
        ("[guide_clips]\ntalk = 0", "guide_clips.talk: 0 given; allowed: 1 or more"),
        ("[train_llm", "not valid TOML"),
    ],
)
def test_what_nothing_reads_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, message: str
):
    own = tmp_path / "own.toml"
    own.write_text(text)
    monkeypatch.setenv(SETTINGS_ENV, str(own))
    with pytest.raises(ValueError, match=rf"own\.toml: .*{message}"):
        settings()


def test_the_defaults_are_what_is_allowed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(SETTINGS_ENV, raising=False)
    plain = settings()
    assert set(plain) == set(CHECKS)
    for name, values in plain.items():
        CHECKS[name](values)


def test_seconds_of_the_command_line_stand_over_those_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    own = tmp_path / "own.toml"
    own.write_text("[train_llm]\nmax_seconds = 60\n")
    monkeypatch.setenv(SETTINGS_ENV, str(own))
    assert run_settings(LlmTrainConfig, "train_llm").max_seconds == 60
    assert run_settings(LlmTrainConfig, "train_llm", "5").max_seconds == 5
