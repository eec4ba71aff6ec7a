"""Errors as the shell sees them: one line on standard error and an exit code."""

from __future__ import annotations

import contextlib
import functools
import logging
import os
import sys
from collections.abc import Callable, Iterator
from enum import IntEnum
from typing import ParamSpec

import typer

from fireredtts2.narration.errors import SpeechError

logger = logging.getLogger(__name__)

#: What the library's messages advise a program, and what is the same on the command line.
ADVICE = {"turn_limit_ms": "--turn-limit", "with make_voice": "with `fireredtts2 voices add`"}
Parameters = ParamSpec("Parameters")


class ExitCode(IntEnum):
    """What a script can tell from the exit status."""

    OK = 0
    FAULT = 1  # `doctor` found a fault, or this program has one
    USAGE = 2  # the command line, a script, a text or a clip is not right
    MODEL = 3  # the checkpoint is missing, incomplete or damaged
    SPEECH = 4  # a turn could not be spoken
    IO = 5  # a file, a pipe, a player, the network or the disk failed
    INTERRUPTED = 130  # Ctrl-C


class CommandError(Exception):
    """An error that knows its exit code."""

    def __init__(self, code: ExitCode, message: str) -> None:
        super().__init__(message)
        self.code = code


@contextlib.contextmanager
def blamed_on(code: ExitCode) -> Iterator[None]:
    """Gives what goes wrong inside this exit code, whatever kind of error it is."""
    try:
        yield
    except (ValueError, OSError, RuntimeError) as error:
        raise CommandError(code, one_line(error)) from error


def reported(command: Callable[Parameters, None]) -> Callable[Parameters, None]:
    """Ends a command with one line and an exit code in place of a traceback."""

    @functools.wraps(command)
    def wrapper(*args: Parameters.args, **kwargs: Parameters.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except (typer.Exit, typer.BadParameter):
            raise
        except (Exception, KeyboardInterrupt) as error:
            logger.debug("what happened:", exc_info=True)
            code, message = judge(error)
            typer.secho(f"fireredtts2: {message}", err=True)
            raise typer.Exit(code) from None

    return wrapper


def judge(error: BaseException) -> tuple[ExitCode, str]:
    """The exit code and the line of an error."""
    if isinstance(error, CommandError):
        return error.code, str(error)
    if isinstance(error, KeyboardInterrupt):
        return ExitCode.INTERRUPTED, "stopped"
    if isinstance(error, SpeechError):
        return ExitCode.SPEECH, one_line(error)
    if isinstance(error, BrokenPipeError):
        _forget_standard_output()
        return ExitCode.IO, "whoever read the output went away"
    if isinstance(error, OSError):
        return ExitCode.IO, one_line(error)
    if isinstance(error, ValueError):
        return ExitCode.USAGE, one_line(error)
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
        return ExitCode.SPEECH, f"not enough memory: {one_line(error)}"
    unexpected = f"unexpected {type(error).__name__}: {one_line(error)}"
    return ExitCode.FAULT, f"{unexpected} (`fireredtts2 --debug ...` shows where)"


def one_line(error: BaseException) -> str:
    """An error's message without line breaks, in the command line's words.

    A system error names its file first.
    """
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror[:1].lower()}{error.strerror[1:]}"
    message = " ".join(str(error).split()) or type(error).__name__
    for library_words, own_words in ADVICE.items():
        message = message.replace(library_words, own_words)
    return message


def _forget_standard_output() -> None:
    """Keeps the interpreter's last flush from failing a second time."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
