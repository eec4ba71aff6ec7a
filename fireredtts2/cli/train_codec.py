"""`train-codec`: trains the codec, stage one or two, as a recipe says."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import typer

from fireredtts2.cli.errors import CommandError, ExitCode, reported


@reported
def train_codec(
    recipe: Annotated[Path, typer.Argument(help="A YAML recipe, as in recipes/codec.")],
    changes: Annotated[
        list[str] | None, typer.Option("--set", help="section.key=value in the recipe's place.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where a run was cut.")] = False,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Only say what memory the run will take.")
    ] = False,
) -> None:
    """Train the codec from sound files: encoder and codes, or the decoder alone."""
    from fireredtts2.training.codec.recipe import read_recipe

    read = read_recipe(recipe, changes or [])
    if estimate:
        from fireredtts2.training.codec.memory import estimate_recipe

        typer.echo(estimate_recipe(read).text())
        return
    from fireredtts2.training.bad_steps import TrainingDivergedError
    from fireredtts2.training.codec.run import CodecRun

    logging.getLogger("fireredtts2.training").setLevel(logging.INFO)
    try:
        outcome = CodecRun(read, resume).carry_out()
    except TrainingDivergedError as error:
        raise CommandError(ExitCode.FAULT, str(error)) from error
    typer.echo(f"{outcome.path}: written after {outcome.step} steps (weights of step "
               f"{outcome.used_step}; {outcome.num_skipped} steps skipped)")  # fmt: skip
    typer.echo(outcome.sounds)
    if outcome.validation is not None:
        before, after = outcome.validation
        typer.echo(f"mel distance of held-out sounds: {before:.4f} before, {after:.4f} after")
    if read.model.stage == "one" and read.model.start is None:
        typer.echo("its decoder has learnt nothing yet: stage two trains it")
