"""What goes wrong in a run: it is said, and the last good state stays."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("yaml", reason="recipes need the training extra")

from fireredtts2.training.bad_steps import TrainingDivergedError
from fireredtts2.training.codec.recipe import recipe_from
from fireredtts2.training.codec.run import CodecRun
from fireredtts2.training.codec.stage import StepLosses
from fireredtts2.training.codec.stage_one import EncoderStage
from fireredtts2.training.codec.stage_two import DecoderStage
from fireredtts2.training.codec.trainer import CodecTrainer
from fireredtts2.training.prepare.recordings import DIGEST_KIND
from tests import tiny
from tests.training.codec.conftest import journal
from tests.training.codec.test_run import final_state
from tests.training.finetune.test_run import assert_same

MakeValues = Callable[..., dict[str, Any]]


@pytest.mark.parametrize("kind", ["one", "two"])
def test_a_step_that_is_not_finite_is_skipped_and_reported(
    values: MakeValues, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = EncoderStage if kind == "one" else DecoderStage
    losses, states = stage.losses, {}

    def broken(self: Any, number: int, step: int, *rest: Any) -> StepLosses:
        done = losses(self, number, step, *rest)
        if step != 4:
            return done
        return StepLosses({**done.parts, "mel": done.parts["mel"] * float("nan")}, done.made,
                          done.real, done.uses)  # fmt: skip

    step = CodecTrainer.step

    def watched(self: CodecTrainer) -> dict[str, float]:
        before = {n: t.detach().clone() for n, t in self.moving().items()}
        values = step(self)
        states[self.step_count] = (before, {n: t.detach() for n, t in self.moving().items()})
        if self.step_count == 5:
            assert_same(*states[5])
        return values

    monkeypatch.setattr(stage, "losses", broken)
    monkeypatch.setattr(CodecTrainer, "step", watched)
    outcome = CodecRun(recipe_from(values(kind))).carry_out()
    assert outcome.num_skipped == 1
    rows = journal(tmp_path / "run", "train")
    assert [row["step"] for row in rows if row["skipped"]] == [5]
    assert [row["mel"] for row in rows if row["step"] == 5] == [None]


def test_too_many_bad_steps_end_the_run(
    values: MakeValues, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = CodecRun(recipe_from(values("two", optim__max_bad_steps=2, run__save_every=1)))
    losses = DecoderStage.losses

    def broken(self: DecoderStage, number: int, step: int, *rest: Any) -> StepLosses:
        done = losses(self, number, step, *rest)
        factor = float("inf") if step >= 1 else 1.0
        return StepLosses({n: v * factor for n, v in done.parts.items()}, done.made, done.real)

    monkeypatch.setattr(DecoderStage, "losses", broken)
    with pytest.raises(TrainingDivergedError, match="2 steps in a row"):
        run.carry_out()
    moving = final_state(run)["moving"]
    assert all(bool(value.isfinite().all()) for value in moving.values())


def test_a_full_disk_keeps_the_last_good_state(
    values: MakeValues, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_from(values("two"))
    run = CodecRun(recipe)
    save, calls = torch.save, []

    def full(state: object, path: Path, **kwargs: object) -> None:
        save(state, path, **kwargs)
        if "step-" in str(path):
            calls.append(path)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match="disk is full"):
        run.carry_out()
    monkeypatch.setattr(torch, "save", save)
    assert [int(p.stem[5:]) for p in run.store.paths()] == [0]
    assert not list(run.store.folder.glob(".step-*"))
    CodecRun(recipe, resume=True).carry_out()


def test_a_second_run_does_not_overwrite_the_first(values: MakeValues) -> None:
    recipe = recipe_from(values("two"))
    CodecRun(recipe).carry_out()
    with pytest.raises(ValueError, match="--resume"):
        CodecRun(recipe)


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"loss__mel_weight": 1.0}, "loss"),
        ({"data__min_seconds": 0.5}, r"data\.min_seconds"),
        ({"run__seed": 1}, "run.seed"),
    ],
)
def test_a_resumed_run_keeps_its_recipe(
    values: MakeValues, change: dict[str, Any], place: str
) -> None:
    CodecRun(recipe_from(values("two", optim__total_steps=1))).carry_out()
    with pytest.raises(ValueError, match=place):
        CodecRun(recipe_from(values("two", **change)), resume=True)


def test_a_resumed_run_may_read_ahead_by_more_threads(values: MakeValues) -> None:
    CodecRun(recipe_from(values("two", optim__total_steps=1))).carry_out()
    recipe = recipe_from(values("two", optim__total_steps=1, data__workers=2))
    assert CodecRun(recipe, resume=True).trainer.step_count == 1


def test_a_resumed_run_keeps_its_sounds_and_its_codec(
    values: MakeValues, tiny_checkpoint: Path, sounds: Path, tmp_path: Path
) -> None:
    copy, start = tmp_path / "copy", tmp_path / "start"
    shutil.copytree(sounds, copy)
    shutil.copytree(tiny_checkpoint, start)
    recipe = recipe_from(values("two", data__source=str(copy), model__start=str(start),
                                optim__total_steps=1))  # fmt: skip
    CodecRun(recipe).carry_out()
    (copy / "clip5.wav").unlink()
    with pytest.raises(ValueError, match="not those that the run began with"):
        CodecRun(recipe, resume=True)
    shutil.copy(sounds / "clip5.wav", copy)
    tiny.write_checkpoint(start, seed=3)
    with pytest.raises(ValueError, match="the codec that the run began with"):
        CodecRun(recipe, resume=True)


def test_a_run_that_an_earlier_version_began_goes_on(
    values: MakeValues, caplog: pytest.LogCaptureFixture
) -> None:
    """Its digest of the sounds was of their sizes alone."""
    recipe = recipe_from(values("two", optim__total_steps=1))
    CodecRun(recipe).carry_out()
    for path in (Path(recipe.run.out) / "checkpoints").glob("*.pt"):
        state = torch.load(path, weights_only=False)
        state["sounds"] = state["sounds"].removeprefix(DIGEST_KIND)
        torch.save(state, path)
    assert CodecRun(recipe, resume=True).trainer.step_count == 1
    assert "does not tell what is in the sounds" in caplog.text


def test_what_an_earlier_version_did_not_know_must_be_off(values: MakeValues) -> None:
    plain = values("two", optim__total_steps=1)
    CodecRun(recipe_from(plain)).carry_out()
    for path in (Path(plain["run"]["out"]) / "checkpoints").glob("*.pt"):
        state = torch.load(path, weights_only=False)
        del state["recipe"]["data"]["prompt_share"]
        torch.save(state, path)
    assert CodecRun(recipe_from(plain), resume=True).trainer.step_count == 1
    plain["data"]["prompt_share"] = 0.5
    with pytest.raises(ValueError, match=r"data\.prompt_share: the run began with None"):
        CodecRun(recipe_from(plain), resume=True)


def test_a_run_among_its_sounds_is_refused_at_once(
    values: MakeValues, sounds: Path, tmp_path: Path
) -> None:
    """Its samples would be taken for sounds, and it could not be resumed."""
    copy = tmp_path / "copy"
    shutil.copytree(sounds, copy)
    out = copy / "runs" / "two"
    with pytest.raises(ValueError, match=r"run.out: .* lies in data.source"):
        CodecRun(recipe_from(values("two", data__source=str(copy), run__out=str(out))))
    assert not out.exists()


def test_several_processes_are_refused(values: MakeValues, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(ValueError, match="one process"):
        CodecRun(recipe_from(values("two")))


def test_a_checkpoint_of_another_size_is_refused(
    values: MakeValues, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "other"
    shutil.copytree(tiny_checkpoint, folder)
    config = json.loads((folder / "config_codec.json").read_text())
    config["codec"]["acoustic_decoder"]["num_layers"] = 2
    (folder / "config_codec.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="does not fit"):
        CodecRun(recipe_from(values("two", model__start=str(folder))))


def test_a_whisper_encoder_of_another_size_is_refused(values: MakeValues) -> None:
    with pytest.raises(ValueError, match="does not fit WhisperEncoder"):
        CodecRun(recipe_from(values("one", model__semantic="mini")))
