"""What Whisper hears is compared as the evaluation compares it; the command passes it on."""

import re
from pathlib import Path

import numpy as np
import pytest

from fireredtts2.cli import listener
from fireredtts2.cli.errors import ExitCode
from fireredtts2.cli.main import main
from fireredtts2.evaluation import asr_model, extras
from tests.training.prepare.speech import write_clip


class FakeWhisper:
    """Hears the same words in everything."""

    def __init__(self, folder: str | Path, threads: int = 1, language: str = "en") -> None:
        self.heard = {"en": "We owe Mr. Smith 20 dollars", "zh": "你好世界"}[language]

    def transcribe(self, audio: np.ndarray) -> str:
        return self.heard


@pytest.fixture(autouse=True)
def fake(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("jiwer", reason="comparing words needs the evaluation extra")
    pytest.importorskip("whisper_normalizer", reason="comparing words needs the evaluation extra")
    monkeypatch.setattr(listener, "WhisperTranscriber", FakeWhisper)
    monkeypatch.setattr(listener, "load_extra", lambda module: None)  # FakeWhisper needs none


@pytest.mark.parametrize(
    ("text", "language", "rate"),
    [
        ("we owe mister Smith twenty dollars!", "en", 0.0),
        ("We owe Mister Smith.", "", 1 / 4),
        ("你好，世界。", "zh", 0.0),
        ("你好，世人。", "zh-CN", 1 / 4),
    ],
)
def test_words_are_compared_in_plain_form(text: str, language: str, rate: float) -> None:
    heard = listener.WhisperListener(Path("none"))
    found, _ = heard.error_rate(np.zeros(16_000, np.float32), text, language)
    assert found == pytest.approx(rate)


def test_the_command_lets_it_listen(
    tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(listener, "asr_model_folder", lambda given: Path(given))
    monkeypatch.setattr(listener, "recogniser_name", lambda folder: f"fake {folder.name}")
    source = tmp_path / "clips" / "anna"
    write_clip(source / "right.wav", 2.0, 1, text="We owe Mister Smith twenty dollars.")
    write_clip(source / "wrong.wav", 2.0, 2, text="It rains, and nobody minds.")
    command = [
        "prepare",
        str(source.parent),
        str(tmp_path / "set"),
        "--model",
        str(tiny_checkpoint),
    ]
    assert main([*command, "--asr", "--asr-model", "whisper", "--language", "en"]) == 0
    assert re.search("written: 1 samples.*\n.*misheard 1", capsys.readouterr().err)
    assert "heard: 'We owe Mr. Smith 20 dollars'" in (tmp_path / "set/refused.jsonl").read_text()
    assert main([*command, "--language", "en"]) == 2
    assert "recogniser was 'fake whisper', is ''" in capsys.readouterr().err


@pytest.mark.parametrize("missing", listener.MODULES)
def test_a_package_that_is_missing_is_named_before_anything_is_begun(
    missing: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def load(module: str) -> None:
        if module == missing:
            raise extras.MissingPackageError(f"the evaluation needs the package {module!r}")

    monkeypatch.setattr(listener, "load_extra", load)
    command = ["prepare", str(tmp_path), str(tmp_path / "set"), "--asr"]
    assert main(command) == ExitCode.USAGE
    assert f"fireredtts2: the evaluation needs the package {missing!r}" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_recogniser_that_cannot_be_fetched_is_a_fault_of_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(folder: Path) -> Path:
        raise RuntimeError("could not download it:\nno route")

    monkeypatch.setattr(asr_model, "fetch_asr_model", fail)
    monkeypatch.delenv(asr_model.ASR_MODEL_ENV, raising=False)
    assert main(["prepare", str(tmp_path), str(tmp_path / "set"), "--asr"]) == ExitCode.IO
    assert capsys.readouterr().err == "fireredtts2: could not download it: no route\n"
