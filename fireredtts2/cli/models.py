"""`download` and `convert`: checkpoint folders."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fireredtts2.cli import options
from fireredtts2.cli.errors import ExitCode, blamed_on, reported

DEFAULT_FOLDER = Path("FireRedTTS2")


@reported
def download(
    folder: Annotated[Path, typer.Argument(help="Where to.")] = DEFAULT_FOLDER,
    repo: Annotated[
        str | None, typer.Option(help="Repository; FireRedTeam/FireRedTTS2 by default.")
    ] = None,
    revision: Annotated[str, typer.Option(help="Branch, tag or commit.")] = "main",
    only: Annotated[
        options.Kind | None, typer.Option(help="Leave the other language model out.")
    ] = None,
    quiet: options.Quiet = False,
) -> None:
    """Fetch the published checkpoint from Hugging Face; goes on where it stopped, and checks.

    HF_ENDPOINT names a mirror, HF_TOKEN a token.
    """
    from fireredtts2.cli.progress import download_progress
    from fireredtts2.download import REPO
    from fireredtts2.download import download as fetch

    with download_progress(quiet) as show:
        fetch(folder, repo or REPO, revision, only.value if only else None, on_progress=show)
    if not quiet:
        typer.echo(f"{folder}: complete and checked", err=True)


@reported
def convert(
    source: Annotated[str, typer.Argument(help='A checkpoint folder, or "mini".')],
    destination: Annotated[Path, typer.Argument(help="The new folder.")],
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 or float16.")] = "float32",
) -> None:
    """Write a checkpoint folder again, with safetensors in place of .pt files."""
    from fireredtts2.convert import DTYPES, convert_folder

    if dtype not in DTYPES:
        raise ValueError(f"--dtype {dtype}; allowed: {', '.join(DTYPES)}")
    if destination.is_file() or (destination.is_dir() and any(destination.iterdir())):
        raise ValueError(f"{destination}: already there; remove it first or choose another folder")
    with blamed_on(ExitCode.MODEL):
        convert_folder(source, destination, dtype)
    typer.echo(f"{destination}: written and read back", err=True)
