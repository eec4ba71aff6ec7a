"""Where a command's audio goes: what was asked for, checked before anything is made."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from fireredtts2.atomic_file import is_special, is_terminal
from fireredtts2.audio_writer import STANDARD_OUTPUT, audio_format
from fireredtts2.cli import sinks
from fireredtts2.cli.sinks import Take
from fireredtts2.playback import find_player


@dataclass(frozen=True)
class Outputs:
    """The output options of `say` and `dialogue`."""

    output: str | None
    format: str | None
    stream: bool
    play: bool
    srt: Path | None = None
    vtt: Path | None = None
    stems: Path | None = None
    turns: Path | None = None

    def __post_init__(self) -> None:
        if self.output is None and self.stream and not self.play and not sys.stdout.isatty():
            object.__setattr__(self, "output", STANDARD_OUTPUT)
        self._check_destinations()
        self._check_stream()
        if self.output is not None:
            audio_format(self.output, self.format)
        if self.play:
            find_player(self.stream)
        for folder in (self.stems, self.turns):
            if folder is not None:
                folder.mkdir(parents=True, exist_ok=True)

    def sinks(self, names: Mapping[str, str]) -> list[AbstractContextManager[Take]]:
        """What every chunk is given to. The first closes last: playing waits for the files, and
        subtitles that cannot be written do not take the audio with them.

        Args:
            names: of speakers, where a script gives them, for subtitles.
        """
        wanted: list[AbstractContextManager[Take]] = []
        if self.play:
            player = find_player(self.stream)
            wanted.append(sinks.live_player(player) if self.stream else sinks.player(player))
        if self.srt is not None or self.vtt is not None:
            wanted.append(sinks.subtitles(self.srt, self.vtt, names))
        if self.output == STANDARD_OUTPUT and not self.stream:
            wanted.append(sinks.whole_standard_output(self.format))
        elif self.output is not None:
            wanted.append(sinks.audio(self.output, self.format))
        if self.stems is not None:
            wanted.append(sinks.stems(self.stems, self.format or "wav"))
        if self.turns is not None:
            wanted.append(sinks.turn_files(self.turns, self.format or "wav"))
        return wanted

    def names(self) -> list[str]:
        """What to tell the user that there is now."""
        output = None if self.output in (None, STANDARD_OUTPUT) else os.path.abspath(self.output)
        return [str(p) for p in (output, self.stems, self.turns, self.srt, self.vtt) if p]

    def kept(self, num_turns: int) -> str:
        """What there is of so many finished turns when the next one fails."""
        if num_turns == 0:
            return "no turn was finished before it" if self.stream else "nothing was written"
        is_one = num_turns == 1
        places = [f"went to {listener}" for listener in self._listeners()]
        if self.turns is not None:
            places.append(f"{'is' if is_one else 'are'} in {self.turns}")
        if not places:
            return "nothing was written (--turns FOLDER keeps finished turns)"
        is_file = self.output not in (None, STANDARD_OUTPUT) and not self._is_live()
        rest = ", nothing else was written" if is_file or self.stems or self.srt or self.vtt else ""
        turns = "1 finished turn" if is_one else f"{num_turns} finished turns"
        return f"{turns} {' and '.join(places)}{rest}"

    def _listeners(self) -> list[str]:
        """Who gets a turn as soon as it is made, and cannot be made to forget it."""
        player = ["the player"] if self.play and self.stream else []
        if not self._is_live():
            return player
        return ["standard output" if self.output == STANDARD_OUTPUT else str(self.output), *player]

    def _is_live(self) -> bool:
        """Whether the output is a pipe or the like; standard output is written at the end unless
        it is a stream."""
        if self.output == STANDARD_OUTPUT:
            return self.stream
        return self.output is not None and is_special(self.output)

    def _check_destinations(self) -> None:
        if self.output is None and not self.play and self.stems is None and self.turns is None:
            raise ValueError("nowhere to put the audio: give -o FILE, -o - or --play")
        if self.output == STANDARD_OUTPUT and sys.stdout.isatty():
            raise ValueError("-o - would write audio to the terminal: give a file, or a pipe")
        if self.output not in (None, STANDARD_OUTPUT) and is_terminal(self.output):
            raise ValueError(f"-o {self.output} is a terminal: give a file, or a pipe")
        files = [None if self.output == STANDARD_OUTPUT else self.output, self.srt, self.vtt]
        for path in files:
            if path is not None:
                self._check_file(Path(path))

    @staticmethod
    def _check_file(path: Path) -> None:
        """An hour's work must not end at a folder that was never there."""
        if path.is_dir():
            raise IsADirectoryError(21, "a folder, not a file", str(path))
        if not path.parent.is_dir():
            raise FileNotFoundError(2, "no such folder to write into", str(path.parent))

    def _check_stream(self) -> None:
        if self.stream and not self._listeners():
            raise ValueError("--stream needs a listener: -o - (or a named pipe), or --play")
