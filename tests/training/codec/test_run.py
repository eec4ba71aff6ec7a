"""Whole runs on tiny codecs: they learn, and a run cut anywhere equals the uncut one."""

import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("yaml", reason="recipes need the training extra")

from fireredtts2.training.codec import stage_one
from fireredtts2.training.codec.recipe import CodecRecipe, read_recipe, recipe_from
from fireredtts2.training.codec.run import CodecRun
from fireredtts2.training.codec.trainer import CodecTrainer
from tests.training.codec.conftest import KINDS, journal
from tests.training.finetune.test_run import CutError, assert_same

MakeValues = Callable[..., dict[str, Any]]


def final_state(run: CodecRun) -> dict[str, Any]:
    state = run.store.load_newest()
    assert state is not None
    return state["trainer"]


def recipe_of(values: MakeValues, kind: str, **changes: Any) -> CodecRecipe:
    return recipe_from(values(**{**KINDS[kind], **changes}))


@pytest.mark.parametrize(
    ("kind", "cut_after"),
    [
        ("one-spectrogram", 5),
        ("two", 3),
        pytest.param("one-spectrogram", 1, marks=pytest.mark.slow),
        pytest.param("one-sound", 5, marks=pytest.mark.slow),
    ],
)
def test_a_run_cut_anywhere_equals_the_uncut_run(
    values: MakeValues, tmp_path: Path, kind: str, cut_after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = CodecRun(recipe_of(values, kind, run__out=str(tmp_path / "whole")))
    whole.carry_out()

    recipe = recipe_of(values, kind, run__out=str(tmp_path / "cut"))
    step = CodecTrainer.step

    def cut(self: CodecTrainer) -> dict[str, float]:
        if self.step_count == cut_after:
            raise CutError
        return step(self)

    monkeypatch.setattr(CodecTrainer, "step", cut)
    with pytest.raises(CutError):
        CodecRun(recipe).carry_out()
    monkeypatch.setattr(CodecTrainer, "step", step)
    resumed = CodecRun(recipe, resume=True)
    assert resumed.trainer.step_count == cut_after // 2 * 2
    resumed.carry_out()
    assert_same(final_state(whole), final_state(resumed))
    for file in ("metrics.jsonl", "codec/codec.safetensors", "codec/config_codec.json"):
        assert (tmp_path / "whole" / file).read_bytes() == (tmp_path / "cut" / file).read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_process_goes_on(values: MakeValues, tmp_path: Path, kind: str) -> None:
    import yaml

    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(values(**KINDS[kind])))
    code = (
        "import os, signal, sys\n"
        "from fireredtts2.training.codec import stage_one\n"
        "from fireredtts2.training.codec.trainer import CodecTrainer\n"
        "from fireredtts2.cli.main import main\n"
        "update = CodecTrainer._update\n"
        "def dies(self, *rest):\n"
        "    if self.step_count == 5: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return update(self, *rest)\n"
        "CodecTrainer._update = dies\n"
        f"stage_one.LATENT_BATCHES = {stage_one.LATENT_BATCHES}\n"
        "main(sys.argv[1:])\n"
    )
    command = [sys.executable, "-c", code, "train-codec", str(path)]
    done = subprocess.run(command, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()
    resumed = CodecRun(read_recipe(path), resume=True)
    assert resumed.trainer.step_count == 4
    resumed.carry_out()
    uncut = CodecRun(read_recipe(path, [f"run.out={tmp_path / 'uncut'}"]))
    uncut.carry_out()
    assert_same(final_state(uncut), final_state(resumed))


def test_both_stages_learn_from_nothing(values: MakeValues, tmp_path: Path) -> None:
    """Stage one, then stage two from what it wrote."""
    few = {"optim__ema_decay": 0.0, "run__save_every": 100, "run__validate_every": 100,
           "data__validation": 0.0}  # fmt: skip
    first = CodecRun(
        recipe_from(
            values("one", run__out=str(tmp_path / "one"), optim__total_steps=24,
                   optim__learning_rate=3e-3, **few)
        )
    )  # fmt: skip
    start = first.carry_out().path
    second = CodecRun(
        recipe_from(
            values("two", run__out=str(tmp_path / "two"), model__start=str(start),
                   optim__total_steps=24, optim__learning_rate=3e-3, **few)
        )
    )  # fmt: skip
    second.carry_out()
    for name, drop in (("one", 0.9), ("two", 0.8)):
        losses = [row["mel"] for row in journal(tmp_path / name, "train")]
        assert sum(losses[-4:]) < drop * sum(losses[:4]), losses


def test_a_resumed_run_takes_the_rates_of_its_recipe(values: MakeValues) -> None:
    fixed = {"optim__schedule": "constant", "optim__warmup_steps": 0}
    CodecRun(recipe_of(values, "two", optim__total_steps=4, **fixed)).carry_out()
    changed = {"optim__learning_rate": 1e-4, "optim__discriminator_rate": 2e-5,
               "optim__weight_decay": 0.25, "optim__betas": [0.7, 0.9]}  # fmt: skip
    trainer = CodecRun(recipe_of(values, "two", **fixed, **changed), resume=True).trainer
    assert trainer.judges is not None
    assert trainer.step_count == 4
    trainer.step()
    for optimizer, rate in ((trainer.optimizer, 1e-4), (trainer.judges.optimizer, 2e-5)):
        (group,) = optimizer.param_groups
        assert (group["lr"], group["peak"], group["weight_decay"]) == (rate, rate, 0.25)
        assert tuple(group["betas"]) == (0.7, 0.9)
        # What was gathered is kept; the discriminators joined at step 2.
        steps = {int(state["step"]) for state in optimizer.state.values()}
        assert steps == ({4} if optimizer is trainer.optimizer else {3})


def test_bfloat16_and_accumulation_run(values: MakeValues) -> None:
    run = CodecRun(recipe_of(values, "one-sound", optim__precision="bfloat16",
                             optim__total_steps=5))  # fmt: skip
    assert run.carry_out().num_skipped == 0


def test_accumulated_batches_are_those_of_more_steps(values: MakeValues, tmp_path: Path) -> None:
    """Two batches of one update are the batches of two, and their gradients are the mean."""
    losses = []
    for count in (1, 2):
        recipe = recipe_from(values("two", run__out=str(tmp_path / str(count)),
                                    optim__batches_per_step=count, data__validation=0.0,
                                    optim__learning_rate=0.0))  # fmt: skip
        trainer = CodecRun(recipe).trainer
        losses.append([trainer.step()["mel"] for _ in range(4 // count)])
    single, double = losses
    assert double == pytest.approx([(single[0] + single[1]) / 2, (single[2] + single[3]) / 2])


def test_early_stop_takes_the_best(values: MakeValues) -> None:
    # A rate of 0 improves nothing.
    run = CodecRun(recipe_from(values("two", run__patience=2, run__validate_every=1,
                                      optim__ema_decay=0.0, optim__learning_rate=0.0)))  # fmt: skip
    outcome = run.carry_out()
    assert (outcome.step, outcome.used_step) == (2, 0)


def test_nothing_before_the_codebooks_is_the_best(values: MakeValues) -> None:
    run = CodecRun(recipe_from(values("one", run__patience=1, run__validate_every=1,
                                      optim__learning_rate=0.0)))  # fmt: skip
    outcome = run.carry_out()
    # Quantized from step 2 on, where patience begins to count.
    assert outcome.used_step == 3
    assert outcome.step == 4


def test_the_last_weights_are_taken_where_that_is_asked_for(values: MakeValues) -> None:
    run = CodecRun(recipe_from(values("two", run__take="last", optim__learning_rate=0.0)))
    outcome = run.carry_out()
    assert outcome.used_step == outcome.step == 6


def test_samples_are_written(values: MakeValues, tmp_path: Path) -> None:
    import soundfile

    CodecRun(recipe_from(values("two", run__samples_every=2))).carry_out()
    names = sorted(path.name for path in (tmp_path / "run/samples").iterdir())
    assert names == ["0-real.wav", "0-step-000000000.wav", "0-step-000000006.wav"]
    real, made = (soundfile.read(tmp_path / "run/samples" / name) for name in names[:2])
    assert real[1] == made[1] == 24_000
    assert real[0].shape == made[0].shape
    assert abs(real[0]).max() > 0.05
