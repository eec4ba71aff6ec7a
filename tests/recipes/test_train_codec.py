"""Step 4 asks for the codebooks that the language model makes, and begins nothing anew."""

from pathlib import Path

import pytest

from recipes.mini import train_codec
from recipes.mini.settings import SETTINGS_ENV
from tests import tiny


def test_other_codebooks_than_are_spoken_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    own = tmp_path / "own.toml"
    own.write_text("[train_codec]\nfew_codebooks = 3\n")
    monkeypatch.setenv(SETTINGS_ENV, str(own))
    with pytest.raises(ValueError, match=r"few_codebooks: 3 given; allowed: 4, as many as llm\."):
        train_codec.run_stage_one(tiny.codec(), tmp_path, None)


def test_a_frozen_codec_is_not_trained_on(tmp_path: Path):
    (tmp_path / "codec_frozen.safetensors").touch()
    train_codec.main(str(tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["codec_frozen.safetensors"]
