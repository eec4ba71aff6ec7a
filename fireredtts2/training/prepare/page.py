"""`report.html`: one file with nothing beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from fireredtts2.training.prepare.histogram import drawn

SECONDS_PER_MINUTE = 60
SHOWN_SPEAKERS = 50
STYLE = """
:root { color-scheme: light dark; --kept: #2f7d6d; --refused: #c8553d; --line: #8886; }
body { font: 15px/1.5 system-ui, sans-serif; max-width: 62rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: .5rem 0 1.5rem; }
th, td { text-align: left; padding: .2rem .9rem .2rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top; overflow-wrap: anywhere; }
td.number { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
figure { display: inline-block; width: 29rem; max-width: 100%; margin: 0 1rem 1rem 0; }
svg { width: 100%; } svg text { font-size: 11px; fill: currentColor; }
svg line { stroke: currentColor; } .kept { fill: var(--kept); } .refused { fill: var(--refused); }
"""
LEGEND = (
    '<p><svg viewBox="0 0 10 10" style="width:.8em"><rect class="kept" width="10" height="10"/>'
    '</svg> kept <svg viewBox="0 0 10 10" style="width:.8em"><rect class="refused" width="10" '
    'height="10"/></svg> refused</p>'
)


def page(values: Mapping[str, Any], refused: Sequence[Mapping[str, Any]]) -> str:
    """The page.

    Args:
        values: as `report.json` has them.
        refused: those that are shown, as `refused.jsonl` has them.
    """
    parts = [
        "<h1>Prepared recordings</h1>",
        f"<p>{_overview(values)}</p>",
        "<h2>Splits</h2>",
        _table(
            ("split", "samples", "minutes"),
            [(k, v["samples"], _minutes(v["seconds"])) for k, v in values["splits"].items()],
        ),
        "<h2>How they are</h2>",
        LEGEND,
        *(drawn(histogram) for histogram in values["histograms"].values()),
        "<h2>Refused</h2>",
        _table(
            ("reason", "turns", "meaning"),
            [(k, count, values["meanings"][k]) for k, count in values["refused"].items()],
        ),
        *(_times(values, kind) for kind in ("languages", "speakers")),
        *_refusals(values, refused),
    ]
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>Prepared recordings</title><style>{STYLE}</style></head><body>\n"
        + "\n".join(parts)
        + "\n</body></html>\n"
    )


def _overview(values: Mapping[str, Any]) -> str:
    kept = values["turns"] - values["turns_refused"]
    return (
        f"{values['recordings']:,} recordings of {values['turns']:,} turns (read as "
        f"{escape(values['layout'])}); {kept:,} turns kept, {values['turns_refused']:,} refused: "
        f"{values['samples']:,} samples, {values['conversations']:,} of them conversations, "
        f"{_minutes(values['seconds'])} minutes."
    )


def _times(values: Mapping[str, Any], kind: str) -> str:
    times = list(values[kind].items())
    rows = [(name, _minutes(seconds)) for name, seconds in times[:SHOWN_SPEAKERS]]
    more = len(times) - len(rows)
    note = f"<p>and {more:,} more in report.json</p>" if more else ""
    return f"<h2>{kind.capitalize()}</h2>{_table((kind[:-1], 'minutes'), rows)}{note}"


def _refusals(values: Mapping[str, Any], refused: Sequence[Mapping[str, Any]]) -> list[str]:
    if not refused:
        return []
    more = values["turns_refused"] - len(refused)
    note = f"<p>and {more:,} more in refused.jsonl</p>" if more else ""
    rows = [
        (row["id"], row.get("turn", ""), row["reason"], row["detail"], row["source"])
        for row in refused
    ]
    table = _table(("id", "turn", "reason", "found", "where"), rows)
    return ["<h2>Refused one by one</h2>", table, note]


def _table(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    if not rows:
        return "<p>none</p>"
    head = "".join(f"<th>{escape(name)}</th>" for name in heads)
    body = "".join("<tr>" + "".join(map(_cell, row)) + "</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cell(value: Any) -> str:
    if isinstance(value, int | float):
        return f'<td class="number">{value:,}</td>'
    return f"<td>{escape(str(value))}</td>"


def _minutes(seconds: float) -> float:
    return round(seconds / SECONDS_PER_MINUTE, 2)
