"""Players: programs of the system that make audio heard, from a file or while it is made."""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, cast


@dataclass(frozen=True)
class Player:
    """How a program is called.

    Attributes:
        name: of the program.
        file_args: arguments before a file's name.
        stream_args: arguments that make it play its standard input; None where it cannot.
        stream_format: what it wants to read there.
    """

    name: str
    file_args: tuple[str, ...] = ()
    stream_args: tuple[str, ...] | None = None
    stream_format: Literal["wav", "pcm"] = "wav"


FFPLAY_ARGS = ("-nodisp", "-autoexit", "-loglevel", "error", "-i")
PAPLAY_RAW_ARGS = ("--raw", "--rate=24000", "--format=s16le", "--channels=1")

#: Tried in this order.
PLAYERS = (
    Player("ffplay", FFPLAY_ARGS, (*FFPLAY_ARGS, "-")),
    Player("aplay", ("-q",), ("-q", "-")),
    Player("paplay", (), PAPLAY_RAW_ARGS, "pcm"),
    Player("afplay"),
)
INSTALL_HINT = "install FFmpeg (it brings ffplay), or write a file with -o"


class PlayerError(OSError):
    """No player is there, or it failed."""


def available_players() -> list[Player]:
    """The players on this machine."""
    return [player for player in PLAYERS if shutil.which(player.name)]


def find_player(streaming: bool = False) -> Player:
    """The first player on this machine.

    Args:
        streaming: it must play while the audio is made.

    Raises:
        PlayerError: there is none; names those that were looked for.
    """
    suited = [p for p in PLAYERS if p.stream_args is not None or not streaming]
    found = next((player for player in suited if player in available_players()), None)
    if found is None:
        names = ", ".join(player.name for player in suited)
        what = "player for a stream" if streaming else "player"
        raise PlayerError(f"no {what} found; looked for {names}: {INSTALL_HINT}")
    return found


def play_file(player: Player, path: Path) -> None:
    """Plays a WAV file to its end.

    Raises:
        PlayerError: the player failed.
    """
    done = subprocess.run(
        [player.name, *player.file_args, str(path)], stdin=subprocess.DEVNULL, capture_output=True
    )
    _check(player, done.returncode, done.stderr)


@contextlib.contextmanager
def open_player(player: Player) -> Iterator[BinaryIO]:
    """Lends the standard input of a player, and waits until all is heard.

    Raises:
        PlayerError: the player failed or went away.
    """
    process = subprocess.Popen(
        [player.name, *(player.stream_args or ())],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    closed_early = False
    try:
        try:
            yield cast(BinaryIO, process.stdin)
        except BrokenPipeError:  # its exit status says more
            closed_early = True
        _, errors = process.communicate()
    finally:
        # After Ctrl-C or an error nobody wants to hear the rest; after the end this does nothing.
        process.kill()
        process.wait()
    _check(player, process.returncode, errors)
    if closed_early:
        raise PlayerError(f"{player.name} was closed before the end")


def _check(player: Player, status: int, errors: bytes) -> None:
    if status != 0:
        lines = errors.decode(errors="replace").split("\n")
        reason = next((line.strip() for line in lines if line.strip()), "it gave no reason")
        raise PlayerError(f"{player.name} ended with status {status}: {reason}")
