"""The examples in the help texts. A test runs every one of them."""

from __future__ import annotations

from rich.markup import escape

EXAMPLES: dict[str, tuple[str, ...]] = {
    "say": (
        'fireredtts2 say "Hello there." -o hello.wav',
        'fireredtts2 say "Good morning." --voice af_heart --seed 7 -o morning.mp3',
        'echo "Read this out." | fireredtts2 say - -o spoken.flac',
        'fireredtts2 say "You hear this while it is made." --play --stream',
        'fireredtts2 say "To another program." --stream -o - > speech.wav',
        'fireredtts2 say "With subtitles." -o clip.opus --srt clip.srt',
    ),
    "dialogue": (
        "fireredtts2 dialogue script.txt -o show.mp3",
        "fireredtts2 dialogue script.md --voice S1=af_heart --voice S2=am_michael -o show.wav",
        "fireredtts2 dialogue script.json --stems tracks --turns turns --vtt show.vtt",
        "cat script.txt | fireredtts2 dialogue - --play --stream",
    ),
    "voices list": ("fireredtts2 voices list", "fireredtts2 voices list --json"),
    "voices add": (
        'fireredtts2 voices add anna clip.wav --text "What is said in the clip."',
        "fireredtts2 voices add anna clip.wav --text-file clip.txt --overwrite --adapt",
    ),
    "voices show": ("fireredtts2 voices show af_heart",),
    "voices remove": ("fireredtts2 voices remove anna",),
    "download": (
        "fireredtts2 download FireRedTTS2",
        "fireredtts2 download FireRedTTS2 --only dialogue",
    ),
    "convert": ("fireredtts2 convert FireRedTTS2 FireRedTTS2-bf16 --dtype bfloat16",),
    "serve": ("fireredtts2 serve", "fireredtts2 serve --host 0.0.0.0 --slots 8 --queue 64"),
    "studio": ("fireredtts2 studio --help",),
    "prepare": ("fireredtts2 prepare --help",),
    "train": ("fireredtts2 train --help",),
    "train-codec": ("fireredtts2 train-codec --help",),
    "doctor": ("fireredtts2 doctor", "fireredtts2 doctor --json --no-speak"),
    "evaluate": ("fireredtts2 evaluate --help",),
}


def epilog(command: str) -> str:
    """The examples as they stand under a command's help, one a line."""
    lines = [f"[cyan]{escape(example)}[/cyan]" for example in EXAMPLES[command]]
    return "\n\n".join(["[bold]Examples[/bold]", *lines])
