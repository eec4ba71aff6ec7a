"""`studio`: the studio alone, before a server that is elsewhere."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer

from fireredtts2.cli.errors import CommandError, ExitCode, blamed_on, reported


@reported
def studio(
    server: Annotated[
        str, typer.Option(help="The server that speaks, as https://speech.example.com.")
    ] = "http://127.0.0.1:7860",
    host: Annotated[str, typer.Option(help="Address to listen on; 0.0.0.0 for all.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=0, max=65_535)] = 7870,
    works: Annotated[
        Path | None,
        typer.Option(
            help="Where works are kept; below your data folder by default.",
            envvar="FIREREDTTS2_STUDIO",
        ),
    ] = None,
) -> None:
    """Serve the studio for browsers, with the voice of a server that runs elsewhere.

    `serve` has the studio too: this is for fleets, and for servers without it.
    """
    check_installed()
    import uvicorn
    from fastapi import FastAPI

    from fireredtts2.ui.mount import PATH, mount_studio, user_works_path

    address = urlsplit(server)
    if address.scheme not in ("http", "https") or not address.hostname:
        raise CommandError(
            ExitCode.USAGE, f"--server {server}: must begin with http:// or https://"
        )
    app = FastAPI(title="FireRedTTS-2 studio", docs_url=None, redoc_url=None, openapi_url=None)
    with blamed_on(ExitCode.USAGE):
        mount_studio(app, server, works or user_works_path())
    typer.echo(f"studio: http://{host}:{port}{PATH}/, before {server}", err=True)
    uvicorn.run(app, host=host, port=port, log_level="warning", server_header=False)


def is_installed() -> bool:
    """Whether the studio can be served."""
    return importlib.util.find_spec("gradio") is not None


def check_installed() -> None:
    """Raises CommandError where it cannot, with what to do."""
    if not is_installed():
        raise CommandError(ExitCode.USAGE, "gradio is missing: pip install 'fireredtts2[studio]'")
