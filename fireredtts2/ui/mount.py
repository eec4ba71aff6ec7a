"""Puts the studio into an application, at a path of its own."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import gradio as gr
from fastapi import FastAPI
from fastapi.responses import RedirectResponse

from fireredtts2.ui.desk import Desk, DeskLimits
from fireredtts2.ui.door import Door
from fireredtts2.ui.exports import MAX_PROJECT_BYTES
from fireredtts2.ui.layout import PAGE
from fireredtts2.ui.page import build_page
from fireredtts2.ui.work_routes import work_routes

PATH = "/studio"
WORKS_ENV = "FIREREDTTS2_STUDIO"
SYSTEM_FONTS = ("system-ui", "-apple-system", "Segoe UI", "Noto Sans", "sans-serif")
MONO_FONTS = ("ui-monospace", "SFMono-Regular", "Menlo", "Consolas", "monospace")


def mount_studio(
    app: FastAPI, address: str, folder: Path, limits: DeskLimits | None = None
) -> Desk:
    """Adds the studio at /studio, and sends those who come to / there.

    Args:
        app: of the server, or an empty one.
        address: of the server that speaks, as `http://127.0.0.1:7860`.
        folder: where works are kept.
        limits: of what is kept.

    Returns:
        The desk with all works.

    Raises:
        OSError: the folder cannot be made.
    """
    desk = Desk(folder, limits)
    app.include_router(work_routes(desk), prefix=PATH)
    app.add_api_route("/", _to_studio, include_in_schema=False)
    app.add_middleware(Door, path=PATH, address=address)
    # NOTE: the longer path first: a mount takes everything below its own.
    for path, language in ((f"{PATH}/zh", "zh"), (PATH, "en")):
        gr.mount_gradio_app(
            app,
            build_page(desk, address, language),  # type: ignore[arg-type]
            path,
            footer_links=[],
            run_history=False,
            show_error=False,
            max_file_size=MAX_PROJECT_BYTES,
            ssr_mode=False,
            mcp_server=False,
            enable_monitoring=False,
            pwa=False,
            theme=_theme(),
            css_paths=[PAGE / "page.css"],
        )
    inner = app.router.lifespan_context

    @contextlib.asynccontextmanager
    async def lifespan(one: FastAPI) -> AsyncIterator[Any]:
        async with inner(one) as state:
            yield state
            desk.close()

    app.router.lifespan_context = lifespan
    return desk


def user_works_path() -> Path:
    """Where works are kept where nothing else is said: `FIREREDTTS2_STUDIO`, or the user's own."""
    if named := os.environ.get(WORKS_ENV, "").strip():
        return Path(named).expanduser()
    data = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(data).expanduser() / "fireredtts2" / "studio"


def _to_studio() -> RedirectResponse:
    return RedirectResponse(f"{PATH.removeprefix('/')}/")


def _theme() -> gr.themes.Base:
    """Fonts of the user's own machine: nothing is asked of other servers."""
    return gr.themes.Soft(
        primary_hue=gr.themes.colors.red,
        neutral_hue=gr.themes.colors.stone,
        font=SYSTEM_FONTS,
        font_mono=MONO_FONTS,
    ).set(
        button_primary_background_fill="#d9482b",
        button_primary_background_fill_dark="#d9482b",
        button_primary_background_fill_hover_dark="#c03d22",
        button_primary_background_fill_hover="#c03d22",
        button_primary_text_color="white",
    )
