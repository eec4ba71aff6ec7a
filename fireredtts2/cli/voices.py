"""`voices`: the library of voices."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fireredtts2.cli import options
from fireredtts2.cli.errors import ExitCode, blamed_on, reported
from fireredtts2.cli.examples import epilog
from fireredtts2.config import FRAME_RATE_HZ

if TYPE_CHECKING:
    from fireredtts2.codec import RedCodec
    from fireredtts2.narration.prompter import LearnAdapter
    from fireredtts2.voices import Voice, VoiceLibrary

app = typer.Typer(
    help="List, make, show and remove voices.", no_args_is_help=True, rich_markup_mode="rich"
)
Name = Annotated[str, typer.Argument(help="The voice's name.")]


@app.command("list", epilog=epilog("voices list"))
@reported
def list_voices(
    model: options.Model = options.DEFAULT_MODEL, as_json: options.AsJson = False
) -> None:
    """List the model's voices and your own."""
    library = open_library(model)
    voices = [about(library, name) for name in library.list()]
    if as_json:
        typer.echo(json.dumps(voices, indent=2, ensure_ascii=False))
        return
    width = max((len(voice["name"]) for voice in voices), default=0)
    for voice in voices:
        length = f"{voice['seconds']:5.1f} s"
        typer.echo(f"{voice['name']:{width}}  {voice['language']}  {length}  {voice['from']}")


@app.command("show", epilog=epilog("voices show"))
@reported
def show(
    name: Name, model: options.Model = options.DEFAULT_MODEL, as_json: options.AsJson = False
) -> None:
    """Show what is known of a voice."""
    voice = about(open_library(model), name)
    if as_json:
        typer.echo(json.dumps(voice, indent=2, ensure_ascii=False))
        return
    for key, value in voice.items():
        typer.echo(f"{key + ':':10} {value}")


@app.command("add", epilog=epilog("voices add"))
@reported
def add(
    name: Name,
    clip: Annotated[Path, typer.Argument(help="A clip of the voice, any audio file.")],
    text: Annotated[str | None, typer.Option(help="What is said in the clip.")] = None,
    text_file: Annotated[Path | None, typer.Option(help="A file with that text.")] = None,
    language: Annotated[str, typer.Option(help="The clip's language.")] = "en",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace your voice.")] = False,
    adapt: Annotated[
        bool, typer.Option("--adapt", help="Let the decoder learn the voice: it sounds more alike.")
    ] = False,
    more: Annotated[
        list[Path] | None,
        typer.Option(
            help="With --adapt: another recording to learn from, or a folder of them; no text "
            "needed. May be given again."
        ),
    ] = None,
    quiet: options.Quiet = False,
    model: options.Model = options.DEFAULT_MODEL,
    device: options.Device = "auto",
) -> None:
    """Make a voice from a clip and its transcript, once; using it encodes nothing again."""
    from dataclasses import replace

    from fireredtts2.checkpoint import CheckpointFolder
    from fireredtts2.engine.device import resolve_device
    from fireredtts2.engine.threads import use_suited_threads
    from fireredtts2.narration.prompter import Prompter
    from fireredtts2.voices import check_name

    with blamed_on(ExitCode.USAGE):
        check_name(name)
        transcript = _transcript(text, text_file)
        resolved = resolve_device(device)
        clip.open("rb").close()
        others = recordings_in(more or (), clip)
        if others and not adapt:
            raise ValueError("--more is what --adapt learns from: give that as well")
        library = open_library(model)
        if name in library.list() and not overwrite:
            raise ValueError(f"voice {name!r} is there already; --overwrite, or choose another")
    with blamed_on(ExitCode.MODEL):
        folder = CheckpointFolder(model)
        use_suited_threads(folder.llm_config, resolved)
        prompter = Prompter.from_checkpoint(folder, resolved)
    with blamed_on(ExitCode.USAGE), _learning(prompter.codec, adapt, quiet) as learn:
        made = prompter.make_voice(name, clip, transcript, learn, others)
    voice = replace(made, language=language)
    path = library.add(voice, overwrite=overwrite)
    if not quiet:
        typer.echo(f"{path}: voice {name!r}, {seconds_of(voice):.1f} s", err=True)


@app.command("remove", epilog=epilog("voices remove"))
@reported
def remove(name: Name, model: options.Model = options.DEFAULT_MODEL) -> None:
    """Delete one of your voices. Those that came with the model stay."""
    open_library(model).remove(name)
    typer.echo(f"voice {name!r} removed", err=True)


def open_library(model: str) -> VoiceLibrary:
    """The user's voices and the model's, without loading the model."""
    from fireredtts2.checkpoint import CheckpointFolder
    from fireredtts2.voices import VoiceLibrary, user_voices_path

    with blamed_on(ExitCode.MODEL):
        folder = CheckpointFolder(model)
    return VoiceLibrary([user_voices_path(), folder.voices_path])


def about(library: VoiceLibrary, name: str) -> dict[str, Any]:
    """What is known of a voice, ready to be printed."""
    voice, path = library.get(name), library.path(name)
    return {
        "name": name,
        "language": voice.language,
        "seconds": seconds_of(voice),
        "from": "yours" if path.parent == library.folders[0] else "model",
        "adapted": voice.adapter is not None,
        "text": voice.text,
        "codec": voice.codec_id,
        "file": str(path),
    }


def seconds_of(voice: Voice) -> float:
    return round(voice.codes.shape[1] / FRAME_RATE_HZ, 2)


def recordings_in(paths: Sequence[Path], clip: Path) -> list[Path]:
    """Recordings, and those in folders; without the clip itself, each once.

    Raises:
        ValueError: a folder without any.
        FileNotFoundError: no such file.
    """
    from fireredtts2.training.prepare.recordings import AUDIO_SUFFIXES

    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            path.open("rb").close()
            found.append(path)
            continue
        inside = [one for one in sorted(path.iterdir()) if one.suffix.lower() in AUDIO_SUFFIXES]
        if not inside:
            raise ValueError(f"{path}: no recording; known are {', '.join(sorted(AUDIO_SUFFIXES))}")
        found += inside
    once = {path.resolve(): path for path in found}
    once.pop(clip.resolve(), None)
    return list(once.values())


@contextlib.contextmanager
def _learning(codec: RedCodec, adapt: bool, quiet: bool) -> Iterator[LearnAdapter | None]:
    """Lends what adapts the decoder to a voice, with a bar; None where that is not asked."""
    if not adapt:
        yield None
        return
    from fireredtts2.cli.progress import count_progress
    from fireredtts2.training.codec.voice_adaptation import adapter_learner

    with count_progress("learning", quiet) as show:
        yield adapter_learner(codec, show)


def _transcript(text: str | None, text_file: Path | None) -> str:
    if (text is None) == (text_file is None):
        raise ValueError("give what is said in the clip: either --text or --text-file")
    if text_file is None:
        return text or ""
    try:
        return text_file.read_text(encoding="utf-8-sig").strip()
    except UnicodeDecodeError:
        raise ValueError(f"{text_file}: not UTF-8 text") from None
