"""`serve`: the HTTP server."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast, get_args

import typer

from fireredtts2.cli import options
from fireredtts2.cli.errors import CommandError, ExitCode, blamed_on, reported
from fireredtts2.cli.studio import check_installed, is_installed

if TYPE_CHECKING:
    from fastapi import FastAPI

KEYS_ENV = "FIREREDTTS2_API_KEYS"
LOCAL = ("127.0.0.1", "localhost", "::1")


@reported
def serve(
    host: Annotated[
        str,
        typer.Option(help="Address to listen on; 0.0.0.0 for all.", envvar="FIREREDTTS2_HOST"),
    ] = "127.0.0.1",
    port: Annotated[
        int,
        typer.Option(
            help="Port to listen on.", min=0, max=65_535, envvar=["FIREREDTTS2_PORT", "PORT"]
        ),
    ] = 7860,
    slots: Annotated[
        int,
        typer.Option(help="Listeners served at once.", min=1, max=512, envvar="FIREREDTTS2_SLOTS"),
    ] = 4,
    queue: Annotated[
        int,
        typer.Option(
            help="Requests that may wait; more get 429.",
            min=1,
            max=10_000,
            envvar="FIREREDTTS2_QUEUE",
        ),
    ] = 32,
    cors: Annotated[
        list[str] | None, typer.Option(help="A web page that may ask from a browser.")
    ] = None,
    voices: Annotated[
        Path | None, typer.Option(help="Where uploaded voices are kept; your own by default.")
    ] = None,
    jobs: Annotated[
        Path | None,
        typer.Option(
            help="Where jobs for long scripts are kept; below your data folder by default.",
            envvar="FIREREDTTS2_JOBS",
        ),
    ] = None,
    forwarded_allow_ips: Annotated[
        str,
        typer.Option(
            help="Proxies whose word on a client's address is taken, with commas; * for all.",
            envvar="FORWARDED_ALLOW_IPS",
        ),
    ] = "127.0.0.1",
    studio: Annotated[
        bool | None,
        typer.Option(
            "--studio/--no-studio",
            help="The studio, for browsers, at /studio; by default where it is installed.",
            envvar="FIREREDTTS2_WITH_STUDIO",
        ),
    ] = None,
    works: Annotated[
        Path | None,
        typer.Option(
            help="Where the studio keeps works; below your data folder by default.",
            envvar="FIREREDTTS2_STUDIO",
        ),
    ] = None,
    model: options.Model = options.DEFAULT_MODEL,
    adapter: Annotated[
        list[str] | None,
        typer.Option(
            help="A fine-tuned adapter, which requests name as `model`; may be given again.",
            rich_help_panel="Model",
        ),
    ] = None,
    device: options.Device = "auto",
    dtype: options.Dtype = "auto",
    compile: Annotated[
        bool,
        typer.Option(
            "--compile",
            help="Compile frames first: a minute, then much faster with --dtype int8 on a CPU.",
            envvar="FIREREDTTS2_COMPILE",
            rich_help_panel="Model",
        ),
    ] = False,
) -> None:
    """Serve OpenAI's speech API, dialogue and voices over HTTP.

    Keys come from the environment, FIREREDTTS2_API_KEYS, separated by commas: a command line can be
    read by other users of a machine. Without any, everybody who reaches the port may ask. What has
    no option here has a variable too: docs/deploy.md lists them.
    """
    try:
        from fireredtts2.serving import run
        from fireredtts2.serving.app import create_app
        from fireredtts2.serving.environment import serving_config
        from fireredtts2.serving.jobs.config import job_variables, jobs_of, user_jobs_path
    except ModuleNotFoundError as error:
        raise CommandError(
            ExitCode.USAGE, f"{error.name} is missing: pip install 'fireredtts2[serving]'"
        ) from None
    from fireredtts2.engine.device import DTypeName

    with blamed_on(ExitCode.USAGE):
        if dtype not in get_args(DTypeName):
            raise ValueError(f"--dtype {dtype}; allowed: {', '.join(get_args(DTypeName))}")
        asked = {
            "cors_origins": tuple(cors or ()),
            "voices_path": voices,
            "adapters": tuple(adapter or ()),
        }
        # Where nobody asked for jobs, a second server of the same user goes without.
        usual = {} if jobs else {job_variables()["is_optional"]: "yes"}
        kept = jobs_of({**usual, **os.environ}, path=(jobs or user_jobs_path()).expanduser())
        config = serving_config(
            os.environ,
            model=model,
            device=device,
            dtype=cast(Any, dtype),
            compile=compile,
            num_slots=slots,
            max_waiting=queue,
            jobs=kept,
            **{name: value for name, value in asked.items() if value},
        )

    def load() -> FastAPI:
        with blamed_on(ExitCode.MODEL):
            app = create_app(config)
        if not (config.api_keys or config.keys_path) and host not in LOCAL:
            typer.echo(f"no keys ({KEYS_ENV}): everybody who reaches {host} may ask", err=True)
        typer.echo(f"listening on http://{host}:{port} (documentation: /docs)", err=True)
        return app

    def mount(app: FastAPI, address: str) -> None:
        from fireredtts2.ui.mount import PATH, mount_studio, user_works_path

        mount_studio(app, address, works or user_works_path())
        typer.echo(f"studio: {address}{PATH}/", err=True)

    if studio:
        check_installed()
    wants_studio = is_installed() if studio is None else studio
    run.serve(load, host, port, forwarded_allow_ips, mount=mount if wants_studio else None)
