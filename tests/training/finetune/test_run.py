"""Whole runs on a tiny model: they learn, and a run cut anywhere equals the uncut one."""

import json
import logging
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

pytest.importorskip("accelerate", reason="fine-tuning needs the training extra")
pytest.importorskip("peft", reason="adapters need the training extra")

from fireredtts2.adapters import Adapter
from fireredtts2.checkpoint import CheckpointFolder
from fireredtts2.training.bad_steps import TrainingDivergedError
from fireredtts2.training.finetune.recipe import recipe_from
from fireredtts2.training.finetune.run import Run, check_processes, take
from fireredtts2.training.finetune.trainer import Trainer

MakeValues = Callable[..., dict[str, dict[str, Any]]]
METHODS = {
    "lora": {},
    "full": {"model__method": "full"},
    "lora-bfloat16": {
        "model__weights": "bfloat16",
        "optim__precision": "bfloat16",
        "optim__gradient_checkpointing": True,
    },
    "muon": {"model__method": "full", "optim__optimizer": "muon"},
    "8bit": {"model__method": "full", "optim__optimizer": "adamw8bit"},
    "8bit-bfloat16": {
        "model__method": "full", "model__weights": "bfloat16", "optim__optimizer": "adamw8bit",
        "optim__precision": "bfloat16",
    },
}  # fmt: skip


class CutError(Exception):
    """Stands for whatever ends a process."""


def final_state(run: Run) -> dict[str, Any]:
    state = run.store.load_newest()
    assert state is not None
    return state["trainer"]


def assert_same(one: Any, other: Any) -> None:
    assert type(one) is type(other)
    if isinstance(one, torch.Tensor):
        plain = [t.dequantize() if hasattr(t, "dequantize") and type(t) is not torch.Tensor else t
                 for t in (one, other)]  # fmt: skip
        assert torch.equal(*plain)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_same(one[key], other[key])
    elif isinstance(one, list | tuple):
        assert len(one) == len(other)
        for pair in zip(one, other, strict=True):
            assert_same(*pair)
    else:
        assert one == other


CUTS = (1, 3, 5)


def is_slow(method: str, cut_after: int) -> bool:
    """One method is cut everywhere. torchao compiles its optimizers, 20 s the first time."""
    return method.startswith("8bit") or (method != "full" and cut_after != CUTS[1])


CUT_METHODS = [
    pytest.param(method, cut_after, marks=[pytest.mark.slow] if is_slow(method, cut_after) else [])
    for method in METHODS
    for cut_after in CUTS
]


@pytest.mark.parametrize(("method", "cut_after"), CUT_METHODS)
def test_a_run_cut_anywhere_equals_the_uncut_run(
    values: MakeValues, tmp_path: Path, method: str, cut_after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if method.startswith("8bit"):
        pytest.importorskip("torchao.optim", reason="8-bit optimizers need torchao")
    changes = METHODS[method]
    whole = Run(recipe_from(values(run__out=str(tmp_path / "whole"), **changes)))
    whole.carry_out()

    recipe = recipe_from(values(run__out=str(tmp_path / "cut"), **changes))
    step = Trainer.step

    def cut(self: Trainer) -> dict[str, float]:
        if self.step_count == cut_after:
            raise CutError
        return step(self)

    monkeypatch.setattr(Trainer, "step", cut)
    with pytest.raises(CutError):
        Run(recipe).carry_out()
    monkeypatch.setattr(Trainer, "step", step)
    resumed = Run(recipe, resume=True)
    resumed.carry_out()
    assert_same(final_state(whole), final_state(resumed))
    assert (tmp_path / "whole/metrics.jsonl").read_text() == (
        tmp_path / "cut/metrics.jsonl"
    ).read_text()


@pytest.mark.parametrize("method", ["lora", "full"])
def test_it_learns(values: MakeValues, method: str) -> None:
    recipe = recipe_from(values(model__method=method, optim__total_steps=40, run__validate_every=40,
                                run__save_every=40, optim__ema_decay=0.0))  # fmt: skip
    run = Run(recipe)
    run.carry_out()
    rows = [json.loads(line) for line in run.journal.path.read_text().splitlines()]
    losses = [row["loss"] for row in rows if row["part"] == "train"]
    # One step's loss is noisy: the depth decoder learns from an eighth of some 80 frames.
    assert sum(losses[-8:]) < 0.9 * sum(losses[:8])


def test_checkpointing_changes_no_gradient(values: MakeValues, tmp_path: Path) -> None:
    states = []
    for saves in (False, True):
        out = str(tmp_path / str(saves))
        run = Run(recipe_from(values(run__out=out, optim__gradient_checkpointing=saves)))
        run.carry_out()
        states.append(final_state(run)["trained"])
    assert_same(*states)


def test_a_damaged_checkpoint_is_passed_over(values: MakeValues) -> None:
    recipe = recipe_from(values())
    run = Run(recipe)
    run.carry_out()
    newest, before = run.store.paths()[:2]
    newest.write_bytes(newest.read_bytes()[:500])
    assert Run(recipe, resume=True).trainer.step_count == int(before.stem[5:])


@pytest.mark.parametrize("method", ["lora", "full"])
def test_the_model_of_any_kept_step_can_be_taken(values: MakeValues, method: str) -> None:
    recipe = recipe_from(values(model__method=method, run__save_every=3, optim__ema_decay=0.5))
    run = Run(recipe)
    run.carry_out()
    state = run.store.load(3)["trainer"]
    folder = take(recipe, 3)
    assert folder == run.out / "step_3"
    if method == "lora":
        assert Adapter.load(folder).config.steps == 3
    else:
        written = CheckpointFolder(folder).read_llm("dialogue")
        assert_same({k: written[k].float() for k in state["average"]}, state["average"])
    with pytest.raises(ValueError, match=r"no checkpoint of step 4; there are: 0, 3, 6 \("):
        take(recipe, 4)
    state = run.store.load(3)
    del state["origins"]
    run.store.save(3, state)
    moved = shutil.copytree(recipe.model.checkpoint, run.out / "moved")
    with pytest.raises(ValueError, match=r"model\.checkpoint: the run began with"):
        take(recipe_from(values(model__method=method, model__checkpoint=str(moved))), 3)
    with pytest.raises(ValueError, match=r"lora\.rank: the run began with"):
        take(recipe_from(values(model__method=method, lora__rank=3)), 3)


def test_two_runs_in_one_folder_are_refused(values: MakeValues) -> None:
    recipe = recipe_from(values())
    run, other = Run(recipe), Run(recipe)
    with run.store.held(), pytest.raises(ValueError, match="another run is going on in it"):
        other.carry_out()
    run.carry_out()
    told = run.journal.path.read_text()
    with pytest.raises(ValueError, match="another run has written into it since"):
        other.carry_out()
    assert run.journal.path.read_text() == told
    assert Run(recipe, resume=True).carry_out().step == 6


def test_a_run_tells_its_end_once(values: MakeValues, caplog: pytest.LogCaptureFixture) -> None:
    recipe = recipe_from(values())
    run = Run(recipe)
    run.journal.path.write_text(
        '{"step": 0, "part": "validation", "loss": 1.0}\n'
    )  # of a killed run
    run.carry_out()
    told = run.journal.path.read_text()
    Run(recipe, resume=True).carry_out()
    assert run.journal.path.read_text() == told
    parts = [json.loads(line)["part"] for line in told.splitlines()]
    assert (parts.count("final_validation"), parts.count("validation")) == (1, 3)
    with caplog.at_level(logging.WARNING, logger="fireredtts2"):
        Run(recipe_from(values(optim__total_steps=5)), resume=True)
    assert "optim.total_steps: 6 in the run so far, 5 from now on" in caplog.text


def test_only_the_last_checkpoints_are_kept(values: MakeValues) -> None:
    run = Run(recipe_from(values(run__keep_checkpoints=2, run__save_every=1)))
    run.carry_out()
    assert [int(p.stem[5:]) for p in run.store.paths()] == [6, 5]


def test_a_full_disk_keeps_the_last_good_state(
    values: MakeValues, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_from(values())
    run = Run(recipe)
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
    Run(recipe, resume=True).carry_out()


def test_a_step_that_is_not_finite_is_skipped_and_reported(
    values: MakeValues, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(recipe_from(values()))
    losses, before = Trainer._losses, {}

    def broken(self: Trainer, *args: Any) -> torch.Tensor:
        if self.step_count == 2:
            before.update({n: p.detach().clone() for n, p in self.trained.items()})
        factor = float("nan") if self.step_count == 2 else 1.0
        return losses(self, *args) * factor

    update, seen = Trainer._update, []

    def counted(self: Trainer, factor: float) -> None:
        seen.append(self.step_count)
        update(self, factor)

    monkeypatch.setattr(Trainer, "_losses", broken)
    monkeypatch.setattr(Trainer, "_update", counted)
    outcome = run.carry_out()
    assert outcome.num_skipped == 1
    assert seen == [0, 1, 3, 4, 5]
    rows = [json.loads(line) for line in run.journal.path.read_text().splitlines()]
    assert [r["step"] for r in rows if r.get("skipped")] == [3]


def test_too_many_bad_steps_end_the_run(
    values: MakeValues, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(recipe_from(values(optim__max_bad_steps=2, run__save_every=1)))
    losses = Trainer._losses
    monkeypatch.setattr(
        Trainer,
        "_losses",
        lambda self, *a: losses(self, *a) * (float("inf") if self.step_count >= 1 else 1.0),
    )
    with pytest.raises(TrainingDivergedError, match="2 steps in a row"):
        run.carry_out()
    state = final_state(run)
    assert all(bool(value.isfinite().all()) for value in state["trained"].values())


def test_early_stop(values: MakeValues) -> None:
    # A rate of 0 improves nothing.
    run = Run(recipe_from(values(run__patience=2, run__validate_every=1, optim__ema_decay=0.0,
                                 optim__learning_rate=0.0)))  # fmt: skip
    outcome = run.carry_out()
    assert (outcome.step, outcome.used_step) == (2, 0)


@pytest.mark.parametrize("method", ["lora", "full"])
def test_what_is_written_is_the_running_average(
    values: MakeValues, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    decay = 0.7
    run = Run(recipe_from(values(model__method=method, optim__ema_decay=decay,
                                 run__validate_every=100)))  # fmt: skip
    wanted = {n: p.detach().double().clone() for n, p in run.trainer.trained.items()}
    update = Trainer._update

    def followed(self: Trainer, factor: float) -> None:
        update(self, factor)
        own = min(decay, (self.step_count + 1) / (self.step_count + 10))  # short at first
        for name, parameter in self.trained.items():
            wanted[name] = own * wanted[name] + (1 - own) * parameter.detach().double()

    monkeypatch.setattr(Trainer, "_update", followed)
    outcome = run.carry_out()
    assert outcome.used_step == 6
    best = torch.load(run.out / "best.pt", weights_only=True)["weights"]
    for name, parameter in run.trainer.trained.items():
        torch.testing.assert_close(best[name].double(), wanted[name], rtol=1e-5, atol=1e-6)
        assert torch.equal(parameter.detach(), best[name])
    last = final_state(run)["trained"]
    assert any(not torch.allclose(last[n], best[n], atol=1e-4) for n in best)


def test_the_average_of_bfloat16_weights_is_kept_exactly(values: MakeValues) -> None:
    """A hundredth of a small difference would be lost in it."""
    run = Run(recipe_from(values(**METHODS["8bit-bfloat16"], optim__ema_decay=0.99)))
    name, parameter = next(iter(run.trainer.trained.items()))
    before = parameter.detach().float().clone()
    run.trainer.optimizers = []  # the weights move by hand
    run.trainer.step_count = 10_000
    with torch.no_grad():
        parameter.add_(parameter.abs() / 32 + 1e-3)
    run.trainer._update(1.0)
    average = run.trainer.average
    assert average is not None
    torch.testing.assert_close(average[name], before.lerp(parameter.detach().float(), 0.01))
    assert (average[name] != before).all()


def test_the_best_of_a_stretch_that_was_cut_off_is_not_taken(
    values: MakeValues, caplog: pytest.LogCaptureFixture
) -> None:
    recipe = recipe_from(values(run__validate_every=1, run__save_every=3))
    Run(recipe).carry_out()
    best = Path(recipe.run.out) / "best.pt"
    torch.save({**torch.load(best, weights_only=True), "step": 99}, best)
    run = Run(recipe, resume=True)
    assert run.best["loss"] is None
    assert "best.pt: not of step" in caplog.text


def test_processes_that_resume_from_different_steps_are_refused(values: MakeValues) -> None:
    recipe = recipe_from(values())
    Run(recipe).carry_out()
    run = Run(recipe, resume=True)
    own = torch.tensor([6])
    run.accelerator = SimpleNamespace(device="cpu", gather=lambda step: torch.cat([step, own - 6]))
    with pytest.raises(ValueError, match=r"checkpoints of steps \[6, 0\]; run.out must be one"):
        run._check_together()


def test_processes_that_accelerate_has_not_joined_are_refused(
    values: MakeValues, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    alone = SimpleNamespace(num_processes=1, distributed_type="NO", state=None)
    monkeypatch.setattr("fireredtts2.training.finetune.run.wants_shards", lambda *given: False)
    with pytest.raises(ValueError, match="2 processes were launched, and accelerate has joined 1"):
        check_processes(alone, recipe_from(values()))


def test_replay_is_learnt_and_judged(
    values: MakeValues, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    from fireredtts2.checkpoint import CheckpointFolder
    from tests.training.finetune.conftest import write_dataset

    other = write_dataset(tmp_path / "replay", CheckpointFolder(tiny_checkpoint).codec_id, seed=5)
    run = Run(recipe_from(values(data__replay=str(other), data__replay_share=0.5)))
    parts = [p.material for draft in run.trainer.packer.plan(0) for d in draft for p in d.parts]
    assert 1 in parts
    assert run.carry_out().replay is not None


def test_replay_guards_what_was_known(
    values: MakeValues, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    """What a model learnt first it forgets less where some of it is learnt again."""
    from fireredtts2.checkpoint import CheckpointFolder
    from tests.training.finetune.conftest import write_dataset

    first = write_dataset(tmp_path / "first", CheckpointFolder(tiny_checkpoint).codec_id, seed=5)
    how = {"model__method": "full", "optim__total_steps": 30, "optim__ema_decay": 0.0,
           "run__validate_every": 30, "run__save_every": 30}  # fmt: skip
    known = Run(recipe_from(values(**how, data__folder=str(first), run__out=str(tmp_path / "a"))))
    knowing = str(known.carry_out().path)
    after = {}
    for share in (0.01, 0.5):
        run = Run(recipe_from(values(**how, model__checkpoint=knowing, data__replay=str(first),
                                     data__replay_share=share,
                                     run__out=str(tmp_path / str(share)))))  # fmt: skip
        run.carry_out()
        # What was learnt itself, not its validation split, whose codes are random.
        after[share] = run.trainer.validate(known.trainer.packer)["loss"]
    assert after[0.5] < after[0.01] - 0.1


def test_a_second_run_does_not_overwrite_the_first(values: MakeValues) -> None:
    recipe = recipe_from(values())
    Run(recipe).carry_out()
    with pytest.raises(ValueError, match="--resume"):
        Run(recipe)


@pytest.mark.parametrize(
    ("change", "place"),
    [
        ({"lora__rank": 8}, r"lora\.rank: the run began with 4, the recipe now says 8"),
        ({"data__code_noise": 0.1}, r"data\.code_noise: the run began with 0\.0"),
        ({"run__seed": 1}, r"run\.seed"),
    ],
)
def test_a_resumed_run_keeps_its_recipe(
    values: MakeValues, change: dict[str, Any], place: str
) -> None:
    Run(recipe_from(values())).carry_out()
    with pytest.raises(ValueError, match=place):
        Run(recipe_from(values(**change)), resume=True)


def test_a_resumed_run_keeps_its_data(
    values: MakeValues, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    from fireredtts2.checkpoint import CheckpointFolder
    from tests.training.finetune.conftest import write_dataset

    codec_id = CheckpointFolder(tiny_checkpoint).codec_id
    own, replay = tmp_path / "own", tmp_path / "replay"
    for folder in (own, replay):
        write_dataset(folder, codec_id)
    recipe = recipe_from(values(data__folder=str(own), data__replay=str(replay),
                                optim__total_steps=1))  # fmt: skip
    Run(recipe).carry_out()
    assert Run(recipe, resume=True).trainer.step_count == 1
    for folder, place in ((own, "data.folder"), (replay, "data.replay")):
        kept = folder.rename(tmp_path / "kept")
        write_dataset(folder, codec_id, num_train=13)
        (folder / "dataset.json").write_bytes((kept / "dataset.json").read_bytes())
        refused = pytest.raises(ValueError, match=rf"began with \({place}\)")
        with refused:  # other shards, the same index
            Run(recipe, resume=True)
        shutil.rmtree(folder)
        shutil.copytree(kept, folder)
        assert Run(recipe, resume=True).trainer.step_count == 1
        index = json.loads((kept / "dataset.json").read_text())
        (folder / "dataset.json").write_text(json.dumps(index | {"seconds": 11.0}))
        with refused:  # another index, the same shards
            Run(recipe, resume=True)
        shutil.rmtree(folder)
        kept.rename(folder)


def test_data_and_weights_may_move(
    values: MakeValues, dataset: Path, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    Run(recipe_from(values())).carry_out()
    shutil.copytree(dataset, tmp_path / "data")
    shutil.copytree(tiny_checkpoint, tmp_path / "base")
    moved = {"data__folder": str(tmp_path / "data"), "model__checkpoint": str(tmp_path / "base")}
    assert Run(recipe_from(values(**moved)), resume=True).trainer.step_count == 6
    with pytest.raises(ValueError, match=r"the replayed data set is not the one"):
        Run(recipe_from(values(**moved, data__replay=str(dataset))), resume=True)


def test_a_resumed_run_keeps_its_base_weights(
    values: MakeValues, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "base"
    shutil.copytree(tiny_checkpoint, folder)
    recipe = recipe_from(values(model__checkpoint=str(folder), optim__total_steps=1))
    Run(recipe).carry_out()
    assert Run(recipe, resume=True).trainer.step_count == 1
    path = folder / "llm.safetensors"
    size = path.stat().st_size
    save_file({name: tensor + 1 for name, tensor in load_file(path).items()}, path)
    assert path.stat().st_size == size
    with pytest.raises(ValueError, match="weights that the run began with"):
        Run(recipe, resume=True)


def test_a_checkpoint_of_an_earlier_version_goes_on(
    values: MakeValues, caplog: pytest.LogCaptureFixture
) -> None:
    recipe = recipe_from(values(optim__total_steps=1))
    run = Run(recipe)
    run.carry_out()
    state = run.store.load_newest()
    assert state is not None
    del state["origins"]
    run.store.save(1, state)
    assert Run(recipe, resume=True).trainer.step_count == 1
    assert "does not tell what data" in caplog.text


@pytest.mark.parametrize("method", ["lora", "muon", pytest.param("8bit", marks=pytest.mark.slow)])
def test_a_resumed_run_takes_the_rates_of_its_recipe(values: MakeValues, method: str) -> None:
    if method == "8bit":
        pytest.importorskip("torchao.optim", reason="8-bit optimizers need torchao")
    fixed = {**METHODS[method], "optim__schedule": "constant", "optim__warmup_steps": 0}
    Run(recipe_from(values(optim__total_steps=2, **fixed))).carry_out()
    changed = {"optim__learning_rate": 1e-3, "optim__muon_rate": 1e-4,
               "optim__weight_decay": 0.25, "optim__betas": [0.8, 0.9]}  # fmt: skip
    recipe = recipe_from(values(**fixed, **changed))
    trainer = Run(recipe, resume=True).trainer
    has_moments = [bool(optimizer.state) for optimizer in trainer.optimizers]
    assert trainer.step_count == 2
    assert all(has_moments)
    trainer.step()
    rates = [1e-4, 1e-3] if method == "muon" else [1e-3]
    for optimizer, rate in zip(trainer.optimizers, rates, strict=True):
        (group,) = optimizer.param_groups
        assert float(group["lr"]) == group["peak"] == pytest.approx(rate)
        assert isinstance(group["lr"], torch.Tensor) == (method == "8bit")
        assert group["weight_decay"] == 0.25
        assert tuple(group.get("betas", (0.8, 0.9))) == (0.8, 0.9)


class OnDevice(torch.Tensor):
    """Stands for a tensor on a device without float64, as MPS is."""

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.Tensor.cpu:
            return args[0].as_subclass(torch.Tensor)
        result = super().__torch_function__(func, types, args, kwargs or {})
        if isinstance(result, OnDevice) and result.dtype == torch.float64:
            raise RuntimeError("this device has no float64")
        return result


def test_validation_needs_no_float64_on_the_device(
    values: MakeValues, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(recipe_from(values()))
    trainer, judge = run.trainer, run.judges["validation"]
    wanted = trainer.validate(judge)
    forward, zeros = trainer.plain.forward, torch.zeros

    def on_device(*size: Any, **how: Any) -> torch.Tensor:
        made = zeros(*size, **how)
        return made if how.get("device") is None else made.as_subclass(OnDevice) + 0

    monkeypatch.setattr(
        trainer.plain, "forward", lambda *args: forward(*args).as_subclass(OnDevice)
    )
    monkeypatch.setattr("fireredtts2.training.finetune.trainer.torch.zeros", on_device)
    assert trainer.validate(judge) == wanted


def test_a_checkpoint_of_another_size_is_refused(
    values: MakeValues, tiny_checkpoint: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "other"
    shutil.copytree(tiny_checkpoint, folder)
    config = json.loads((folder / "config_llm.json").read_text())
    config["llm_models"]["flavors"]["tiny-backbone"]["num_layers"] = 3
    (folder / "config_llm.json").write_text(json.dumps(config))
    with pytest.raises(ValueError, match="does not fit"):
        Run(recipe_from(values(model__checkpoint=str(folder))))


def test_a_killed_process_goes_on(values: MakeValues, tmp_path: Path) -> None:
    import yaml

    path, whole = tmp_path / "recipe.yaml", tmp_path / "whole"
    path.write_text(yaml.safe_dump(values(optim__total_steps=8, run__save_every=2)))
    code = (
        "import os, signal, sys\n"
        "from fireredtts2.training.finetune.trainer import Trainer\n"
        "from fireredtts2.cli.main import main\n"
        "step = Trainer.step\n"
        "def dies(self):\n"
        "    if self.step_count == 5: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return step(self)\n"
        "Trainer.step = dies\n"
        "main(sys.argv[1:])\n"
    )
    done = subprocess.run([sys.executable, "-c", code, "train", str(path)], capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    from fireredtts2.training.finetune.recipe import read_recipe

    resumed = Run(read_recipe(path), resume=True)
    assert resumed.trainer.step_count == 4
    resumed.carry_out()
    uncut = Run(read_recipe(path, [f"run.out={whole}"]))
    uncut.carry_out()
    assert_same(final_state(uncut), final_state(resumed))
