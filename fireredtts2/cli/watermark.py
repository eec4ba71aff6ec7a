"""`watermark`: marks put into recordings, and found in them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fireredtts2.cli.errors import CommandError, ExitCode, blamed_on, reported

if TYPE_CHECKING:
    import numpy as np

    from fireredtts2.watermark import WatermarkKey

KEY_ENV = "FIREREDTTS2_WATERMARK_KEY"
app = typer.Typer(no_args_is_help=True, help="Find a watermark in a recording, or put one in.")
KeyFile = Annotated[
    Path | None,
    typer.Option("--key-file", help=f"A file with the key; otherwise {KEY_ENV}."),
]
Recording = Annotated[Path, typer.Argument(help="A recording in any format.")]


@app.command()
@reported
def detect(recording: Recording, key_file: KeyFile = None) -> None:
    """Say whether a recording carries a key's mark. Exit code 1: it does not."""
    from fireredtts2.watermark import detect as detected

    with blamed_on(ExitCode.USAGE):
        found = detected(_read(recording), _key(key_file))
    told = f"score {found.score:.1f}, {found.threshold:.1f} is needed"
    if not found.is_marked:
        typer.echo(f"no mark of this key ({told})")
        raise typer.Exit(ExitCode.FAULT)
    number = "cannot be read" if found.payload is None else str(found.payload)
    typer.echo(f"marked; its number: {number} ({told})")


@app.command()
@reported
def add(
    recording: Recording,
    output: Annotated[Path, typer.Argument(help="Where the marked one goes; by its extension.")],
    payload: Annotated[int, typer.Option(help="A number in the mark, 0 to 65535.")] = 0,
    key_file: KeyFile = None,
) -> None:
    """Put a mark into a recording."""
    import numpy as np

    from fireredtts2.audio_writer import write_audio
    from fireredtts2.watermark import Marker

    with blamed_on(ExitCode.USAGE):
        marker = Marker(_key(key_file, payload))
        audio = _read(recording)
    write_audio(output, np.concatenate([marker.push(audio), marker.flush()]))


def _key(path: Path | None, payload: int = 0) -> WatermarkKey:
    from fireredtts2.watermark import WatermarkKey

    if path is None:
        secret = os.environ.get(KEY_ENV, "")
        if not secret:
            raise CommandError(ExitCode.USAGE, f"no key: give --key-file, or set {KEY_ENV}")
    else:
        try:
            secret = path.read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ValueError(f"{path}: {error}") from None
    return WatermarkKey(secret, payload)


def _read(path: Path) -> np.ndarray:
    """(n,) at 24 kHz."""
    from fireredtts2.audio import read_audio
    from fireredtts2.config import OUTPUT_RATE_HZ

    return read_audio(path, OUTPUT_RATE_HZ).numpy()
