"""Writes the page: what it shows is prepared here, how it looks is in the templates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from fireredtts2.evaluation.page.sections import make_section
from fireredtts2.evaluation.paper import NOTE
from fireredtts2.evaluation.report import (
    NO_INTERVAL,
    Figure,
    Part,
    Row,
    shown_count,
    shown_goal,
    shown_number,
    write_whole,
)

FOLDER = Path(__file__).parent
PAGE_ITEMS = 24  # in full, with sound, in every part; about 100 KB a sound
TITLE = "Evaluation report"
VERDICT_CLASSES = {"pass": "pass", "fail": "fail", "too few": "open", "not measured": "open"}


def write_page(
    path: Path, about: Row, parts: Sequence[Part], folder: Path, num_items: int = PAGE_ITEMS
) -> None:
    """Writes `report.html`, one file that needs no other.

    Args:
        path: The file to write.
        about: What was measured.
        parts: The parts, in order.
        folder: Where the audio paths of rows begin.
        num_items: How many items of a part are shown with their sounds; the rest is linked.
    """
    has_paper = any(figure.paper for part in parts for figure in part.figures)
    values = {
        "title": TITLE,
        "about": [(key.replace("_", " "), value) for key, value in about.items()],
        "summary": [_summary(part, figure) for part in parts for figure in part.figures],
        "paper_note": NOTE if has_paper else "",
        "sections": [make_section(part, folder, num_items) for part in parts],
    }
    render("report.html.j2", path, values)


def render(template: str, path: Path, values: Mapping[str, Any]) -> None:
    """Fills a template, everything escaped that is not markup of our own, and writes it."""
    # The sheet goes into <style>, where nothing is escaped; it is ours and holds no "</".
    style = Markup((FOLDER / "style.css").read_text(encoding="utf-8"))
    write_whole(path, templates().get_template(template).render(style=style, **values) + "\n")


@cache
def templates() -> jinja2.Environment:
    """The templates; a name that is missing in them is an error, not an empty place."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _summary(part: Part, figure: Figure) -> dict[str, Any]:
    value = "-" if figure.value is None else shown_number(figure.value, figure.unit)
    interval = ""
    if figure.has_too_few:
        interval = NO_INTERVAL
    if figure.shown_interval:
        interval = " to ".join(shown_number(bound, figure.unit) for bound in figure.shown_interval)
    return {
        "part": part.name,
        "name": figure.name,
        "note": figure.note,
        "value": value,
        "interval": interval,
        "goal": shown_goal(figure),
        "verdict": figure.shown_verdict,
        "verdict_class": VERDICT_CLASSES.get(figure.verdict, ""),
        "count": shown_count(figure.count, figure.groups),
        "paper": figure.paper,
    }
