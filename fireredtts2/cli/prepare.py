"""`prepare`: recordings and their texts to a data set that `train` reads."""

from __future__ import annotations

import logging
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fireredtts2.cli import options
from fireredtts2.cli.errors import CommandError, ExitCode, blamed_on, one_line, reported

if TYPE_CHECKING:
    from fireredtts2.training.prepare.judge import MakeListener
    from fireredtts2.training.prepare.preparation import Prepared

logger = logging.getLogger(__name__)


class Layout(str, Enum):
    """How the recordings lie."""

    auto = "auto"
    folder = "folder"
    ljspeech = "ljspeech"
    manifest = "manifest"
    lhotse = "lhotse"
    huggingface = "huggingface"


class SplitBy(str, Enum):
    """What is held out as one."""

    id = "id"
    speaker = "speaker"


def _limit(name: str, help: str) -> typer.models.OptionInfo:
    return typer.Option(name, help=help, rich_help_panel="What is refused")


@reported
def prepare(
    source: Annotated[Path, typer.Argument(help="A folder of recordings, or a manifest (.jsonl).")],
    out: Annotated[Path, typer.Argument(help="The data set's folder.")],
    model: options.Model = options.DEFAULT_MODEL,
    device: options.Device = "auto",
    layout: Annotated[Layout, typer.Option("--source", help="How they lie.")] = Layout.auto,
    speaker: Annotated[
        str | None, typer.Option("--speaker", help="Who speaks, where the source does not say.")
    ] = None,
    language: Annotated[
        str, typer.Option("--language", help="en, zh, ..., where the source does not say.")
    ] = "",
    clips: Annotated[
        bool, typer.Option("--clips", help="Take conversations apart into clips.")
    ] = False,
    validation: Annotated[
        float, typer.Option("--validation", help="Share that is held out to judge training.")
    ] = 0.05,
    test: Annotated[float, typer.Option("--test", help="Share held out for a last test.")] = 0.0,
    split_by: Annotated[
        SplitBy, typer.Option("--split-by", help="Hold out recordings, or whole speakers.")
    ] = SplitBy.id,
    level: Annotated[
        float, typer.Option("--level", help="Active level that speech is brought to, dBFS.")
    ] = -23.0,
    keep_level: Annotated[
        bool, typer.Option("--keep-level", help="Leave the loudness as it is.")
    ] = False,
    silence: Annotated[
        float, typer.Option("--silence", help="Seconds of silence left at either end.")
    ] = 0.1,
    keep_silence: Annotated[
        bool, typer.Option("--keep-silence", help="Leave the ends as they are.")
    ] = False,
    workers: Annotated[int, typer.Option("--workers", help="Processes.")] = 1,
    asr: Annotated[
        bool, typer.Option("--asr", help="Let a recogniser listen, and refuse other words.")
    ] = False,
    asr_model: Annotated[
        Path | None, typer.Option("--asr-model", help="A Whisper CTranslate2 folder.")
    ] = None,
    min_seconds: Annotated[float, _limit("--min-seconds", "Shortest turn.")] = 0.5,
    max_seconds: Annotated[float, _limit("--max-seconds", "Longest turn.")] = 30.0,
    max_rows: Annotated[
        int, _limit("--max-rows", "Longest sample: the recipe's data.rows_per_batch.")
    ] = 512,
    min_rate: Annotated[int, _limit("--min-rate", "Lowest sampling rate, Hz.")] = 16_000,
    min_level: Annotated[float, _limit("--min-level", "Lowest active level, dBFS.")] = -50.0,
    max_clipped: Annotated[
        float, _limit("--max-clipped", "Largest share of clipped samples.")
    ] = 0.001,
    min_pace: Annotated[float, _limit("--min-pace", "Fewest letters and digits per second.")] = 4.0,
    max_pace: Annotated[float, _limit("--max-pace", "Most letters and digits per second.")] = 30.0,
    min_script: Annotated[
        float, _limit("--min-script", "Smallest share of letters of the language's script.")
    ] = 0.5,
    max_overlap: Annotated[
        float, _limit("--max-overlap", "Longest time with another speaker, seconds.")
    ] = 0.3,
    max_wer: Annotated[
        float | None, _limit("--max-wer", "Highest word error rate, with --asr; 0.3 by default.")
    ] = None,
    quiet: options.Quiet = False,
) -> None:
    """Make a data set of recordings and their texts.

    What cannot be learnt from is left out, with its reason in the report. A run that was cut goes
    on when it is started again.
    """
    from fireredtts2.cli.progress import count_progress
    from fireredtts2.engine.device import resolve_device
    from fireredtts2.training.prepare import preparation
    from fireredtts2.training.prepare.checks import Limits
    from fireredtts2.training.prepare.options import PrepareOptions
    from fireredtts2.training.prepare.workers import check_model
    from fireredtts2.training.prepare.writing import SCRIPTS, language_code

    for name, given in (("--asr-model", asr_model), ("--max-wer", max_wer)):
        if given is not None and not asr:
            raise ValueError(f"{name} {given}: nobody listens without --asr")
    if language and language_code(language) not in SCRIPTS:
        logger.warning("--language %s: its script is not known, texts are not checked", language)
    make_listener, recogniser = _listener(asr, asr_model)
    limits = Limits(
        min_seconds, max_seconds, min_rate, min_level, max_clipped, min_pace, max_pace, min_script,
        max_overlap, max_rows, Limits.max_wer if max_wer is None else max_wer,
    )  # fmt: skip
    wanted = PrepareOptions(
        source, out, model, str(resolve_device(device)), layout.value, speaker, language, not clips,
        limits, None if keep_level else level, None if keep_silence else silence, validation, test,
        split_by.value, recogniser, workers=workers,
    )  # fmt: skip
    with blamed_on(ExitCode.MODEL):
        check_model(wanted)
    with count_progress("recordings", quiet) as show:
        prepared = preparation.prepare(wanted, make_listener, show)
    if not quiet:
        typer.echo(_summary(out, prepared), err=True)


def _listener(asr: bool, model: Path | None) -> tuple[MakeListener | None, str]:
    if not asr:
        return None, ""
    from fireredtts2.cli.listener import whisper_listener
    from fireredtts2.evaluation.extras import MissingPackageError

    try:
        return whisper_listener(model)
    except MissingPackageError as error:
        raise CommandError(ExitCode.USAGE, one_line(error)) from error
    except RuntimeError as error:  # the download
        raise CommandError(ExitCode.IO, one_line(error)) from error


def _summary(out: Path, prepared: Prepared) -> str:
    from fireredtts2.cli.progress import clock

    values = prepared.report
    splits = ", ".join(f"{name} {one['samples']}" for name, one in values["splits"].items())
    refused = ", ".join(f"{reason} {count}" for reason, count in values["refused"].items())
    return (
        f"{out}: {'there already' if prepared.was_there else 'written'}: {values['samples']} "
        f"samples, {clock(values['seconds'])} minutes ({splits})\n"
        f"refused: {refused or 'nothing'}; see {out / 'report.html'}"
    )
