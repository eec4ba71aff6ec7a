"""The command `fireredtts2`. Nothing heavy is imported until a command needs it."""

from __future__ import annotations

import importlib.metadata
import logging
import signal
import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from fireredtts2.cli import (
    adapter,
    check,
    models,
    prepare,
    serve,
    speak,
    studio,
    train,
    train_codec,
    voices,
    watermark,
)
from fireredtts2.cli.errors import ExitCode
from fireredtts2.cli.examples import epilog

TERMINATED = 128 + signal.SIGTERM
EXIT_CODES = (
    "[bold]Exit codes[/bold]  0 done · 1 fault found · 2 command line or input · 3 model · "
    "4 a turn could not be spoken · 5 file, player, network, disk · 130 stopped by Ctrl-C"
)

app = typer.Typer(
    name="fireredtts2",
    help="Speech from text: one voice, or a conversation of up to four.",
    epilog=EXIT_CODES,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
)
app.command("say", epilog=epilog("say"))(speak.say)
app.command("dialogue", epilog=epilog("dialogue"))(speak.dialogue)
app.add_typer(voices.app, name="voices")
app.command("download", epilog=epilog("download"))(models.download)
app.command("convert", epilog=epilog("convert"))(models.convert)
app.command("serve", epilog=epilog("serve"))(serve.serve)
app.command("studio", epilog=epilog("studio"))(studio.studio)
app.command("prepare", epilog=epilog("prepare"))(prepare.prepare)
app.command("train", epilog=epilog("train"))(train.train)
app.command("train-codec", epilog=epilog("train-codec"))(train_codec.train_codec)
app.add_typer(adapter.app, name="adapter")
app.add_typer(watermark.app, name="watermark")
app.command("doctor", epilog=epilog("doctor"))(check.doctor)
app.command(
    "evaluate",
    epilog=epilog("evaluate"),
    add_help_option=False,
    context_settings={"allow_extra_args": True, "ignore_unknown_options": True},
)(check.evaluate)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"fireredtts2 {importlib.metadata.version('fireredtts2')}")
        raise typer.Exit


@app.callback()
def configure(
    context: typer.Context,
    debug: Annotated[
        bool, typer.Option("--debug", envvar="FIREREDTTS2_DEBUG", help="Show where errors arise.")
    ] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show it.")
    ] = False,
) -> None:
    """Options before the command."""
    if context.invoked_subcommand != "evaluate":  # which logs in a way of its own
        log_to_standard_error(debug)


class StandardError(logging.Handler):
    """Writes to standard error as it is now, which tests and terminals may replace."""

    def emit(self, record: logging.LogRecord) -> None:
        typer.echo(self.format(record), err=True)


def log_to_standard_error(debug: bool) -> None:
    """Shows warnings, or everything."""
    logger = logging.getLogger("fireredtts2")
    if not any(isinstance(handler, StandardError) for handler in logger.handlers):
        logger.addHandler(StandardError())
    logger.propagate = False
    logger.setLevel(logging.DEBUG if debug else logging.WARNING)
    # The commands tell themselves, with its number, which turn was cut.
    for part in ("engine", "narration"):
        logging.getLogger(f"fireredtts2.{part}").setLevel(logging.DEBUG if debug else logging.ERROR)


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command line.

    Args:
        arguments: without the program's name; by default those of the process.

    Returns:
        The exit code.
    """
    try:
        app(None if arguments is None else list(arguments), prog_name="fireredtts2")
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return ExitCode.OK


def run() -> None:
    """The process's entry: being told to stop removes half-written files, as Ctrl-C does."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    sys.exit(main())
