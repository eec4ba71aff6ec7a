"""The options that several commands share."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

DEFAULT_MODEL = "mini"


class Kind(str, Enum):
    """Which of a folder's two language models."""

    dialogue = "dialogue"
    monologue = "monologue"


class OnRunaway(str, Enum):
    """What becomes of a turn that does not end."""

    error = "error"
    cut = "cut"
    accept = "accept"


Model = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        envvar="FIREREDTTS2_MODEL",
        help='"mini", the model inside the package, or a checkpoint folder.',
        rich_help_panel="Model",
    ),
]
Device = Annotated[
    str,
    typer.Option(
        "--device",
        envvar="FIREREDTTS2_DEVICE",
        help="auto, cpu, cuda, cuda:1, mps.",
        rich_help_panel="Model",
    ),
]
Dtype = Annotated[
    str,
    typer.Option(
        "--dtype",
        envvar="FIREREDTTS2_DTYPE",
        help="auto, float32, bfloat16, int8, or fp8 (CUDA).",
        rich_help_panel="Model",
    ),
]
Output = Annotated[
    str | None,
    typer.Option("--output", "-o", help='Audio file; "-" is standard output.'),
]
Format = Annotated[
    str | None,
    typer.Option(
        "--format",
        "-f",
        help="wav, wav_float, flac, mp3, opus, aac or pcm; by default what the extension means, "
        "and wav for standard output and pipes.",
    ),
]
Stream = Annotated[
    bool,
    typer.Option(
        "--stream", help="Hand audio on while it is made: with -o - or a named pipe, or --play."
    ),
]
Play = Annotated[
    bool, typer.Option("--play", help="Play it (needs ffplay, aplay, paplay or afplay).")
]
Srt = Annotated[Path | None, typer.Option("--srt", help="Write subtitles, SubRip.")]
Vtt = Annotated[
    Path | None,
    typer.Option("--vtt", help="Write subtitles, WebVTT with the speakers' names."),
]
Seed = Annotated[
    int | None,
    typer.Option("--seed", help="The same seed makes the same audio.", rich_help_panel="Sampling"),
]
Temperature = Annotated[
    float | None,
    typer.Option(
        "--temperature",
        help="Lower is steadier, higher livelier; 0 is always the likeliest.",
        rich_help_panel="Sampling",
    ),
]
Topk = Annotated[
    int | None,
    typer.Option(
        "--topk", help="Draw among this many likeliest codes.", rich_help_panel="Sampling"
    ),
]
Takes = Annotated[
    int | None,
    typer.Option(
        "--takes",
        help="Speak a piece at most so often, until the model's listener hears all of it; 1 does "
        "not ask it. With --stream as far as there is time.",
        rich_help_panel="Sampling",
    ),
]
TurnLimit = Annotated[
    float | None,
    typer.Option("--turn-limit", help="Longest turn, in seconds.", rich_help_panel="Sampling"),
]
Runaway = Annotated[
    OnRunaway,
    typer.Option(
        "--on-runaway",
        help="A turn with no end within its limit is tried again, then: an error; or cut there, "
        "with a warning. accept: cut there at once.",
        rich_help_panel="Sampling",
    ),
]
Adapter = Annotated[
    str | None,
    typer.Option(
        "--adapter",
        help="A fine-tuned adapter's folder, or its name in the checkpoint.",
        rich_help_panel="Model",
    ),
]
GenType = Annotated[
    Kind,
    typer.Option(
        "--gen-type", help="Which of a folder's two language models.", rich_help_panel="Model"
    ),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar, no summary.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
