"""What a run tells while it learns: losses, spoken samples, word errors; none of it changes it."""

import logging
import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

pytest.importorskip("accelerate", reason="fine-tuning needs the training extra")
pytest.importorskip("peft", reason="adapters need the training extra")

from fireredtts2.cli import train_samples
from fireredtts2.cli.train_samples import Speaker
from fireredtts2.training.finetune.recipe import Recipe, recipe_from
from fireredtts2.training.finetune.run import Run
from fireredtts2.training.finetune.samples import Sample, SampleLine
from tests.training.finetune.test_run import assert_same, final_state

MakeValues = Callable[..., dict[str, dict[str, Any]]]


def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A model of random weights ends no turn."""
    monkeypatch.setattr(train_samples, "MAX_SAMPLE_MS", 800.0)


def fake_listener(language: str) -> train_samples.Listener:
    return lambda text, audio: (1, 4)


@pytest.mark.parametrize("method", ["lora", pytest.param("full", marks=pytest.mark.slow)])
def test_speaking_changes_nothing_that_is_learnt(
    values: MakeValues, tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    short(monkeypatch)
    runs = []
    for count in (0, 2):
        recipe = recipe_from(
            values(model__method=method, run__out=str(tmp_path / str(count)))
            | {"samples": {"count": count, "every": 6, "word_errors": False}}
        )
        runs.append(Run(recipe, speaker=Speaker()))
        runs[-1].carry_out()
    for part in ("trained", "average", "optimizers"):
        assert_same(*(final_state(run)[part] for run in runs))
    told = [
        [line for line in run.journal.path.read_text().splitlines() if '"samples"' not in line]
        for run in runs
    ]
    assert told[0] == told[1]
    steps = sorted(path.name for path in (tmp_path / "2" / "samples").iterdir())
    assert steps == ["step_0", "step_6"]
    audio, rate = soundfile.read(tmp_path / "2" / "samples" / "step_6" / "01.wav")
    assert rate == 24_000
    assert 0 < len(audio) / rate <= 0.8
    assert not list((tmp_path / "2").glob("tmp*"))


def test_the_event_file_holds_losses_audio_and_word_errors(
    values: MakeValues, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="needs tensorboard"
    )
    short(monkeypatch)
    monkeypatch.setattr(train_samples, "whisper_listener", fake_listener)
    texts = ["One text.", "Another one."]
    recipe = recipe_from(values(run__tensorboard=True) | {"samples": {"texts": texts}})
    run = Run(recipe, speaker=Speaker())
    run.carry_out()
    board = events.EventAccumulator(str(run.out / "tensorboard"), {"audio": 0, "tensors": 0})
    board.Reload()
    assert [e.step for e in board.Scalars("train/loss")] == [1, 2, 3, 4, 5, 6]
    assert [e.step for e in board.Scalars("validation/loss")] == [0, 3, 6]
    assert [e.value for e in board.Scalars("samples/word_error_rate")] == [0.25] * 3
    assert board.Tags()["audio"] == ["samples/00", "samples/01"]
    clip = board.Audio("samples/00")[-1]
    assert (clip.step, clip.sample_rate, clip.content_type) == (6, 24_000.0, "audio/wav")
    (tmp_path / "heard.wav").write_bytes(clip.encoded_audio_string)
    heard, _ = soundfile.read(tmp_path / "heard.wav")
    written, _ = soundfile.read(run.out / "samples" / "step_6" / "00.wav")
    np.testing.assert_allclose(heard, written, atol=2e-4)  # 16 bits each


def test_samples_are_heard_in_the_language_of_the_data(
    values: MakeValues, monkeypatch: pytest.MonkeyPatch
) -> None:
    short(monkeypatch)
    asked: list[str] = []

    def listener(language: str) -> train_samples.Listener:
        asked.append(language)
        return lambda text, audio: (len(text) if not len(audio) else 0, len(text))

    monkeypatch.setattr(train_samples, "whisper_listener", listener)
    recipe = recipe_from(values(model__method="full") | {"samples": {"count": 2}})
    run = Run(recipe, speaker=Speaker())
    assert run.samples is not None
    assert {line.language for line in run.samples.lines} == {"en"}
    lines = [replace(line, language="zh") for line in run.samples.lines]
    samples = Speaker()(run.recipe, Path(run.recipe.model.checkpoint), "cpu", lines)
    assert asked == ["zh"]
    assert [sample.num_words for sample in samples] == [len(line.text) for line in lines]


def test_a_resumed_run_hides_what_was_told_after_its_checkpoint(
    values: MakeValues, tmp_path: Path
) -> None:
    events = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="needs tensorboard"
    )
    recipe = recipe_from(values(run__tensorboard=True))
    first = Run(recipe)
    first.carry_out()
    first.store.paths()[0].unlink()  # as if it had been cut before its last checkpoint, of step 6
    Run(recipe, resume=True).carry_out()
    board = events.EventAccumulator(str(first.out / "tensorboard"))
    board.Reload()
    assert [e.step for e in board.Scalars("train/loss")] == [1, 2, 3, 4, 5, 6]


@pytest.mark.slow
def test_weights_and_biases_without_a_network(
    values: MakeValues, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("wandb", reason="needs wandb")
    short(monkeypatch)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    recipe = recipe_from(values(run__wandb=True) | {"samples": {"count": 1, "word_errors": False}})
    run = Run(recipe, speaker=Speaker())
    run.carry_out()
    (folder,) = (run.out / "wandb").glob("offline-run-*")
    assert folder.name.endswith((run.out / "wandb_id.txt").read_text())
    (log,) = folder.glob("*.wandb")
    told = log.read_bytes()
    for name in (b"train/loss", b"validation/loss", b"samples/seconds"):
        assert name in told
    clips = sorted(folder.glob("files/media/audio/samples/*.wav"))
    assert len(clips) == 3
    assert soundfile.info(clips[0]).samplerate == 24_000


def test_the_random_state_outlives_a_speaker_that_draws(values: MakeValues) -> None:
    def speaker(
        recipe: Recipe, folder: Path, device: str, lines: Sequence[SampleLine]
    ) -> list[Sample]:
        torch.manual_seed(torch.seed() % 7)
        np.random.seed(3)
        torch.set_num_threads(1)
        return [Sample(np.zeros(0, np.float32), 2, 2) for _ in lines]

    recipe = recipe_from(values() | {"samples": {"count": 3}})
    run = Run(recipe, speaker=speaker)
    before = torch.get_rng_state(), np.random.get_state()[1].copy(), torch.get_num_threads()
    run._speak(validates=True)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])
    assert torch.get_num_threads() == before[2]
    assert '"failed": 3.0' in run.journal.path.read_text()
    assert '"word_error_rate": 1.0' in run.journal.path.read_text()


def test_a_text_without_a_word_counts_none(monkeypatch: pytest.MonkeyPatch) -> None:
    class Deaf:
        def __init__(self, folder: Path, language: str) -> None: ...
        def transcribe(self, audio: np.ndarray) -> str:
            return "one too"

    monkeypatch.setattr("fireredtts2.evaluation.asr.WhisperTranscriber", Deaf)
    monkeypatch.setattr("fireredtts2.evaluation.asr_model.asr_model_folder", Path)
    monkeypatch.setattr(
        "fireredtts2.evaluation.asr.whisper_normalizer",
        lambda language: lambda text: text.replace("Mm-hmm.", ""),
    )
    listen = train_samples.whisper_listener("en")
    silence = np.zeros(2400, np.float32)
    assert listen("Mm-hmm.", silence) == (0, 0)
    assert listen("one two", silence) == (1, 2)


def test_what_a_killed_run_spoke_from_is_removed(
    values: MakeValues, monkeypatch: pytest.MonkeyPatch
) -> None:
    short(monkeypatch)
    run = Run(recipe_from(values() | {"samples": {"count": 1, "word_errors": False}}),
              speaker=Speaker())  # fmt: skip
    left = run.out / ".samples" / "model" / "left.safetensors"
    left.parent.mkdir(parents=True)
    left.touch()
    run.carry_out()
    assert not (run.out / ".samples").exists()


def test_without_whisper_samples_are_spoken_all_the_same(
    values: MakeValues, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def missing(language: str) -> train_samples.Listener:
        raise ImportError("no faster-whisper")

    short(monkeypatch)
    monkeypatch.setattr(train_samples, "whisper_listener", missing)
    run = Run(recipe_from(values() | {"samples": {"count": 1}}), speaker=Speaker())
    with caplog.at_level(logging.WARNING, logger="fireredtts2"):
        run.carry_out()
    assert caplog.text.count("no word errors are counted: no faster-whisper") == 1
    assert (run.out / "samples" / "step_0" / "00.wav").exists()


def test_samples_without_a_validation_split_are_refused(
    values: MakeValues, dataset: Path, tmp_path: Path
) -> None:
    import json

    folder = tmp_path / "bare"
    shutil.copytree(dataset, folder)
    told = json.loads((folder / "dataset.json").read_text())
    del told["splits"]["validation"]
    (folder / "dataset.json").write_text(json.dumps(told))
    for key, value in (("count", 1), ("texts", ["Hello."])):
        with pytest.raises(ValueError, match=rf"samples\.{key}: .* leave it out"):
            Run(recipe_from(values(data__folder=str(folder)) | {"samples": {key: value}}))
