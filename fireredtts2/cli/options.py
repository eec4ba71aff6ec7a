"""The options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

DEFAULT_MODEL = "mini"

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
    typer.Option("--dtype", help="auto, float32 or bfloat16.", rich_help_panel="Model"),
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
        help="wav, wav_float, flac, mp3, opus or pcm; by default what the extension means.",
    ),
]
Stream = Annotated[
    bool,
    typer.Option("--stream", help="Hand audio on while it is made: with -o -, or with --play."),
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
TurnLimit = Annotated[
    float | None,
    typer.Option("--turn-limit", help="Longest turn, in seconds.", rich_help_panel="Sampling"),
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress bar, no summary.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
