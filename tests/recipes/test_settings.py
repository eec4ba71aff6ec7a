"""Values of a run stand over those of config.toml."""

from pathlib import Path

import pytest

from recipes.mini.settings import DEFAULTS, SETTINGS_ENV, settings


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


def test_the_values_for_going_on_name_what_there_is(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(SETTINGS_ENV, raising=False)
    plain = settings()
    monkeypatch.setenv(SETTINGS_ENV, str(DEFAULTS.with_name("go_on.toml")))
    assert {name: set(table) for name, table in settings().items()} == {
        name: set(table) for name, table in plain.items()
    }
