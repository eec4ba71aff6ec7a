"""One run of `say` or `dialogue`: load, speak into the sinks, say what came of it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import cast, get_args

import typer

from fireredtts2.checkpoint import GenType
from fireredtts2.cli.errors import CommandError, ExitCode, blamed_on, one_line
from fireredtts2.cli.outputs import Outputs
from fireredtts2.cli.progress import speech_progress
from fireredtts2.config import OUTPUT_RATE_HZ
from fireredtts2.engine.device import DTypeName, resolve_devices
from fireredtts2.fireredtts2 import FireRedTTS2
from fireredtts2.narration.errors import SpeechError
from fireredtts2.speech import AudioChunk, Progress

logger = logging.getLogger(__name__)
Speak = Callable[[FireRedTTS2, Callable[[Progress], None]], Iterator[AudioChunk]]


@dataclass
class Tally:
    """What was made, for the summary."""

    num_samples: int = 0
    num_turns: int = 0
    cut_turns: tuple[int, ...] = ()

    def take(self, chunk: AudioChunk) -> None:
        self.num_samples += chunk.audio.shape[0]
        if chunk.turn is not None:
            self.num_turns += 1
            if chunk.turn.was_cut:
                self.cut_turns += (chunk.turn_index + 1,)


@dataclass(frozen=True)
class Production:
    """Everything around the generation itself."""

    outputs: Outputs
    model: str
    device: str
    dtype: str
    quiet: bool
    gen_type: str = "dialogue"
    names: Mapping[str, str] = field(default_factory=dict)
    on_runaway: str = "error"
    adapter: str | None = None

    def run(self, speak: Speak) -> None:
        """Speaks, and hands every chunk to every sink as soon as it is made."""
        with speech_progress(self.quiet) as show:
            tts = load_model(self.model, self.device, self.dtype, self.gen_type, self.adapter)
            start = time.perf_counter()
            try:
                tally = self._deliver(speak(tts, show))
            except SpeechError as error:
                kept = self.outputs.kept(error.turn_index)
                message = f"{one_line(error)}; {kept}{self._how_to_go_on(error)}"
                raise CommandError(ExitCode.SPEECH, message) from error
        self._report(tally, time.perf_counter() - start)

    def _deliver(self, chunks: Iterator[AudioChunk]) -> Tally:
        tally = Tally()
        with ExitStack() as stack:
            takes = [stack.enter_context(sink) for sink in self.outputs.sinks(self.names)]
            for chunk in chunks:
                tally.take(chunk)
                for take in takes:
                    take(chunk)
        return tally

    def _how_to_go_on(self, error: SpeechError) -> str:
        """What helps where the model itself failed, not the machine or the turn's length."""
        if error.__cause__ is not None:
            return ""
        cut = ", or --on-runaway cut" if self.on_runaway == "error" else ""
        return f"; to go on, try another --seed{cut}"

    def _report(self, tally: Tally, took_s: float) -> None:
        # Whoever accepts the limit has asked for it.
        for turn in () if self.on_runaway == "accept" else tally.cut_turns:
            # NOTE: the limit follows from the text too, so that --turn-limit need not move it.
            limit = "did not end and was cut at its time limit; another --seed may end it"
            typer.echo(f"turn {turn} {limit}", err=True)
        if self.quiet:
            return
        seconds = tally.num_samples / OUTPUT_RATE_HZ
        turns = "1 turn" if tally.num_turns == 1 else f"{tally.num_turns} turns"
        speed = f", {took_s / seconds:.2f} s a second of speech" if seconds else ""
        where = ", ".join(self.outputs.names())
        typer.echo(
            f"{where + ': ' if where else ''}{seconds:.1f} s of speech, {turns}, "
            f"made in {took_s:.1f} s{speed}",
            err=True,
        )


def load_model(
    model: str,
    device: str = "auto",
    dtype: str = "auto",
    gen_type: str = "dialogue",
    adapter: str | None = None,
) -> FireRedTTS2:
    """Loads a checkpoint; what is wrong with it, and not with the options, has its own code."""
    with blamed_on(ExitCode.USAGE):
        resolved = resolve_devices(device)
        if dtype not in get_args(DTypeName):
            raise ValueError(f"--dtype {dtype}; allowed: {', '.join(get_args(DTypeName))}")
    logger.debug("loading %s on %s", model, resolved)
    with blamed_on(ExitCode.MODEL):
        # NOTE: the name, not `resolved`: the choice of number type depends on "auto".
        kind, number_type = cast(GenType, gen_type), cast(DTypeName, dtype)
        return FireRedTTS2(
            model, kind, device, dtype=number_type, num_threads="auto", adapter=adapter
        )
