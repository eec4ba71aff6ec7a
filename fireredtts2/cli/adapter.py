"""`adapter`: low-rank adapters merged, kept by name and looked at."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fireredtts2.cli.errors import ExitCode, blamed_on, reported

if TYPE_CHECKING:
    from fireredtts2.adapters import Adapter
    from fireredtts2.checkpoint import GenType

app = typer.Typer(help="Adapters that fine-tuning made.", no_args_is_help=True)
Source = Annotated[Path, typer.Argument(help="An adapter's folder.")]
Checkpoint = Annotated[str, typer.Option("--model", help='A checkpoint folder, or "mini".')]


@app.command("info")
@reported
def info(adapter: Source) -> None:
    """Say what an adapter is."""
    from fireredtts2.adapters import Adapter

    read = Adapter.load(adapter)
    config = read.config
    typer.echo(
        f"base {config.base} ({config.gen_type}), rank {config.rank}, alpha {config.alpha:g}"
    )
    typer.echo(f"{len(read.pairs)} matrices, {read.num_parameters} numbers, step {config.steps}")


@app.command("merge")
@reported
def merge(
    adapter: Source,
    destination: Annotated[Path, typer.Argument(help="The new checkpoint folder.")],
    model: Checkpoint = "mini",
) -> None:
    """Write a checkpoint folder with the adapter in its weights."""
    from fireredtts2.adapters import Adapter
    from fireredtts2.checkpoint import CheckpointFolder
    from fireredtts2.training.finetune.export import write_checkpoint

    read = Adapter.load(adapter)
    with blamed_on(ExitCode.MODEL):
        folder = CheckpointFolder(model)
        gen_type = _gen_type(read)
        source = folder.llm_path(gen_type)
        merged = read.merged(folder.read_llm(gen_type))
    write_checkpoint(destination, folder, source, merged)
    typer.echo(f"{destination}: written", err=True)


@app.command("export")
@reported
def export(
    adapter: Source,
    name: Annotated[str, typer.Argument(help="What it will be called.")],
    model: Checkpoint,
) -> None:
    """Copy an adapter into a checkpoint folder, where it can be asked for by name."""
    from fireredtts2.adapters import ADAPTERS_FOLDER, Adapter
    from fireredtts2.checkpoint import CheckpointFolder

    if not name.replace("-", "").replace("_", "").isalnum():
        raise ValueError(f"name {name!r}: letters, digits, - and _ are allowed")
    read = Adapter.load(adapter)
    with blamed_on(ExitCode.MODEL):
        folder = CheckpointFolder(model)
        read.merged(folder.read_llm(_gen_type(read)))  # refuses an adapter of another model
    shelf = folder.path / ADAPTERS_FOLDER
    shelf.mkdir(exist_ok=True)
    read.save(shelf / name)
    typer.echo(f"{shelf / name}: written", err=True)


def _gen_type(adapter: Adapter) -> GenType:
    """The language model that an adapter was made for."""
    return "monologue" if adapter.config.gen_type == "monologue" else "dialogue"
