"""`train`: fine-tunes the language model as a recipe says."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from fireredtts2.cli.errors import CommandError, ExitCode, blamed_on, reported


@reported
def train(
    recipe: Annotated[Path, typer.Argument(help="A YAML recipe, as in recipes/finetune.")],
    changes: Annotated[
        list[str] | None, typer.Option("--set", help="section.key=value in the recipe's place.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where a run was cut.")] = False,
    taken: Annotated[
        int | None,
        typer.Option("--take", help="Do not train; write the model of this step's checkpoint."),
    ] = None,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Only say what memory the run will take.")
    ] = False,
) -> None:
    """Fine-tune the language model: all of it, or a low-rank adapter."""
    from fireredtts2.training.finetune.recipe import read_recipe

    if taken is not None and (resume or estimate):
        raise CommandError(
            ExitCode.USAGE, "--take trains nothing: leave --resume and --estimate out"
        )
    read = read_recipe(recipe, changes or [])
    if estimate:
        from fireredtts2.training.finetune.memory import estimate_recipe

        typer.echo(estimate_recipe(read).text())
        return
    from fireredtts2.checkpoint import CheckpointFolder
    from fireredtts2.cli.train_samples import Speaker
    from fireredtts2.training.bad_steps import TrainingDivergedError
    from fireredtts2.training.finetune.run import Run, take

    with blamed_on(ExitCode.MODEL):
        CheckpointFolder(read.model.checkpoint).llm_path(read.model.gen_type)
    if taken is not None:
        typer.echo(f"{take(read, taken)}: written (weights of step {taken})")
        return
    logging.getLogger("fireredtts2.training.finetune").setLevel(logging.INFO)
    run = Run(read, resume, Speaker())
    try:
        outcome = run.carry_out()
    except TrainingDivergedError as error:
        raise CommandError(ExitCode.FAULT, str(error)) from error
    if not run.accelerator.is_main_process:
        return
    typer.echo(f"{outcome.path}: written after {outcome.step} steps (weights of step "
               f"{outcome.used_step}; {outcome.num_skipped} steps skipped)")  # fmt: skip
    for name, change in (("validation", outcome.validation), ("replay", outcome.replay)):
        if change is not None:
            typer.echo(f"{name} loss: {change[0]:.4f} before, {change[1]:.4f} after")
