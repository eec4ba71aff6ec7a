"""A shell as small as the examples need: pipes, `>`, echo, cat, and our own command."""

from __future__ import annotations

import io
import logging
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from fireredtts2.cli.main import main

FRAMES_PER_TURN = 5  # of the model that the command speaks with


@dataclass(frozen=True)
class Result:
    """How a command ended."""

    code: int
    output: bytes
    errors: str

    @property
    def text(self) -> str:
        return self.output.decode()


class Stream(io.TextIOWrapper):
    """A text stream over bytes in memory, as standard streams are over files."""

    def __init__(self, data: bytes = b"", is_terminal: bool = False) -> None:
        self.bytes = io.BytesIO(data)
        self._is_terminal = is_terminal
        super().__init__(self.bytes, encoding="utf-8", write_through=True)

    def isatty(self) -> bool:
        return self._is_terminal


class Shell:
    """Runs command lines in a folder.

    Attributes:
        folder: the working folder.
        error_terminal: whether standard error is a terminal.
        output_terminal: whether standard output is a terminal.
    """

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.error_terminal = False
        self.output_terminal = False
        self._monkeypatch = monkeypatch
        monkeypatch.setenv("COLUMNS", "200")
        monkeypatch.setenv("NO_COLOR", "1")

    def __call__(self, *arguments: str, stdin: bytes = b"") -> Result:
        """Runs `fireredtts2` with these arguments."""
        output = Stream(is_terminal=self.output_terminal)
        errors = Stream(is_terminal=self.error_terminal)
        with self._monkeypatch.context() as patch:
            patch.setattr(sys, "stdin", Stream(stdin))
            patch.setattr(sys, "stdout", output)
            patch.setattr(sys, "stderr", errors)
            # The command sets its log up for a whole process; here others follow.
            for name in ("fireredtts2", "fireredtts2.engine", "fireredtts2.narration"):
                log = logging.getLogger(name)
                patch.setattr(log, "handlers", list(log.handlers))
                patch.setattr(log, "propagate", log.propagate)
                patch.setattr(log, "level", log.level)
            code = main(list(arguments))
        log = logging.getLogger("fireredtts2")
        log.setLevel(log.level)  # forgets which levels were on
        return Result(code, output.bytes.getvalue(), errors.bytes.getvalue().decode())

    def line(self, command_line: str) -> Result:
        """Runs a line as it stands in a help text or in the README."""
        tokens = shlex.shlex(command_line, posix=True, punctuation_chars="|>")
        tokens.whitespace_split = True
        words = list(tokens)
        target = None
        if ">" in words:
            *words, _, target = words
        result = Result(0, b"", "")
        while words:
            end = words.index("|") if "|" in words else len(words)
            result = self._run(words[:end], result.output)
            words = words[end + 1 :]
        if target is not None:
            (self.folder / target).write_bytes(result.output)
        return result

    def _run(self, command: list[str], stdin: bytes) -> Result:
        name, *arguments = command
        if name == "echo":
            return Result(0, " ".join(arguments).encode() + b"\n", "")
        if name == "cat":
            return Result(0, (self.folder / arguments[0]).read_bytes(), "")
        assert name == "fireredtts2", f"this shell knows no {name}"
        return self(*arguments, stdin=stdin)
