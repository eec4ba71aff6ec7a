"""`say` and `dialogue`: text in, speech out."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fireredtts2.cli import options
from fireredtts2.cli.errors import ExitCode, blamed_on, reported
from fireredtts2.config import FRAME_RATE_HZ

if TYPE_CHECKING:
    from fireredtts2.script import Script
    from fireredtts2.voices import Voice

STANDARD_INPUT = "-"
MS_PER_S = 1_000


@reported
def say(
    text: Annotated[str, typer.Argument(help='What to say; "-" reads standard input.')],
    output: options.Output = None,
    voice: Annotated[
        str | None, typer.Option("--voice", "-v", help="A voice's name, or its file.")
    ] = None,
    format: options.Format = None,
    stream: options.Stream = False,
    play: options.Play = False,
    srt: options.Srt = None,
    vtt: options.Vtt = None,
    seed: options.Seed = None,
    temperature: options.Temperature = None,
    topk: options.Topk = None,
    takes: options.Takes = None,
    turn_limit: options.TurnLimit = None,
    on_runaway: options.Runaway = options.OnRunaway.error,
    model: options.Model = options.DEFAULT_MODEL,
    gen_type: options.GenType = options.Kind.dialogue,
    adapter: options.Adapter = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    quiet: options.Quiet = False,
) -> None:
    """Say a text in one voice."""
    from fireredtts2.cli.outputs import Outputs
    from fireredtts2.cli.production import Production

    outputs = Outputs(output, format, stream, play, srt, vtt)
    with blamed_on(ExitCode.USAGE):
        words = read_standard_input() if text == STANDARD_INPUT else text
        chosen = None if voice is None else named_voice(voice)
    production = Production(
        outputs,
        model,
        device,
        dtype,
        quiet,
        gen_type.value,
        on_runaway=on_runaway.value,
        adapter=adapter,
    )
    limit_ms = as_ms(turn_limit)
    how = given(seed=seed, temperature=temperature, topk=topk, takes=takes, turn_limit_ms=limit_ms)
    how.update(on_runaway=on_runaway.value, hold_turns=not stream)
    production.run(lambda tts, show: tts.stream_say(words, chosen, on_progress=show, **how))


@reported
def dialogue(
    script: Annotated[
        str,
        typer.Argument(help='A script: .txt, .md or .json; "-" reads standard input.'),
    ],
    output: options.Output = None,
    voice: Annotated[
        list[str] | None,
        typer.Option(
            "--voice",
            "-v",
            help="SPEAKER=VOICE, as in S1=af_heart, or Anna=af_heart where the script names an "
            "Anna; once for each. A speaker that the script does not have is an error.",
        ),
    ] = None,
    format: options.Format = None,
    stream: options.Stream = False,
    play: options.Play = False,
    stems: Annotated[
        Path | None,
        typer.Option("--stems", help="Folder for one track per speaker, all equally long."),
    ] = None,
    turns: Annotated[
        Path | None,
        typer.Option("--turns", help="Folder for one file per finished turn; Ctrl-C keeps them."),
    ] = None,
    srt: options.Srt = None,
    vtt: options.Vtt = None,
    seed: options.Seed = None,
    temperature: options.Temperature = None,
    topk: options.Topk = None,
    takes: options.Takes = None,
    turn_limit: options.TurnLimit = None,
    on_runaway: options.Runaway = options.OnRunaway.error,
    model: options.Model = options.DEFAULT_MODEL,
    adapter: options.Adapter = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    quiet: options.Quiet = False,
) -> None:
    """Speak a script as a conversation of up to four speakers."""
    from fireredtts2.cli.outputs import Outputs
    from fireredtts2.cli.production import Production
    from fireredtts2.script import parse_script, read_script

    outputs = Outputs(output, format, stream, play, srt, vtt, stems, turns)
    with blamed_on(ExitCode.USAGE):
        is_piped = script == STANDARD_INPUT
        lines = parse_script(read_standard_input()) if is_piped else read_script(script)
        voices = {**lines.voices, **cast_voices(voice or [], lines)}
    production = Production(
        outputs,
        model,
        device,
        dtype,
        quiet,
        names=lines.names,
        on_runaway=on_runaway.value,
        adapter=adapter,
    )
    limit_ms = as_ms(turn_limit)
    how = given(seed=seed, temperature=temperature, topk=topk, takes=takes, turn_limit_ms=limit_ms)
    how.update(on_runaway=on_runaway.value, hold_turns=not stream)
    production.run(lambda tts, show: tts.stream_dialogue(lines, voices, on_progress=show, **how))


def read_standard_input() -> str:
    """All of standard input as UTF-8."""
    try:
        return sys.stdin.buffer.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"standard input is not UTF-8 text ({error.reason})") from None


def cast_voices(assignments: Sequence[str], script: Script) -> dict[str, str | Voice]:
    """Reads "S1=af_heart" and "Anna=af_heart", where the script has an Anna.

    Raises:
        ValueError: not of this form, a speaker given twice, or one that is not in the script.
    """
    speaking = sorted({turn.speaker for turn in script})
    voices: dict[str, str | Voice] = {}
    for given_as, voice in named_voices(assignments).items():
        speaker = speaker_named(given_as, script.names) or given_as.strip("[]").upper()
        if speaker not in speaking:
            known = ", ".join(
                f"{one} ({script.names[one]})" if one in script.names else one for one in speaking
            )
            raise ValueError(f"--voice {given_as}=...: no such speaker; the script has {known}")
        if speaker in voices:
            raise ValueError(f"--voice: {speaker} is given twice")
        voices[speaker] = voice
    return voices


def speaker_named(name: str, names: Mapping[str, str]) -> str | None:
    """The speaker of this name; case counts only where two names differ in nothing else."""
    exact = [speaker for speaker, one in names.items() if one == name]
    near = [speaker for speaker, one in names.items() if one.casefold() == name.casefold()]
    found = exact or near
    return found[0] if len(found) == 1 else None


def named_voices(assignments: Sequence[str]) -> dict[str, str | Voice]:
    """Reads "S1=af_heart" and the like."""
    voices: dict[str, str | Voice] = {}
    for assignment in assignments:
        speaker, equals, name = assignment.partition("=")
        if not (speaker and equals and name):
            raise ValueError(f"--voice {assignment}: write SPEAKER=VOICE, as in S1=af_heart")
        if speaker in voices:
            raise ValueError(f"--voice: {speaker} is given twice")
        voices[speaker] = named_voice(name)
    return voices


def named_voice(name: str) -> str | Voice:
    """A voice file is loaded; a name is left to the model's library."""
    if not name.endswith(".safetensors"):
        return name
    from fireredtts2.voices import Voice

    return Voice.load(name)


def as_ms(seconds: float | None) -> int | None:
    """--turn-limit in milliseconds.

    Raises:
        ValueError: not a number, or shorter than a frame.
    """
    if seconds is None:
        return None
    if not math.isfinite(seconds) or seconds * FRAME_RATE_HZ < 1:
        shortest = f"at least {1 / FRAME_RATE_HZ:g}, the length of one frame"
        raise ValueError(f"--turn-limit {seconds:g}: must be a number of seconds, {shortest}")
    return round(seconds * MS_PER_S)


def given(**values: Any) -> dict[str, Any]:
    """Those that the user gave: what was not keeps the library's default."""
    return {name: value for name, value in values.items() if value is not None}
