"""Writes a comparison: `comparison.md`, `comparison.json` and `comparison.html`."""

from __future__ import annotations

import json
from pathlib import Path

from fireredtts2.evaluation.bootstrap import MIN_ITEMS
from fireredtts2.evaluation.comparison import Comparison, Difference, FigurePair
from fireredtts2.evaluation.page.side_by_side import (
    PAGE_ITEMS,
    signed,
    write_comparison_page,
)
from fireredtts2.evaluation.report import shown_count, shown_number, write_whole

FIGURES_RULE = "Measured once, as a whole: whether a difference is chance is not known."
RULE = (
    "Differences are those of the second less the first, over the items that both have. A verdict "
    'other than "not distinguishable" means that the 95 % interval of the difference (bootstrap, '
    "the same items drawn for both sides) leaves 0 out. The turns of one dialogue are drawn "
    f"together and count as one item. With fewer than {MIN_ITEMS} items there is neither interval "
    "nor verdict. Where nothing differs, chance makes a verdict once in ten times at 10 items, "
    "once in fourteen at 20, once in sixteen at 50, and nearly once in twenty from 100 on."
)


def write_comparison(out: Path, comparison: Comparison, num_items: int = PAGE_ITEMS) -> None:
    """Writes all three files into a folder, which is made."""
    values = json.dumps(comparison.as_json(), indent=1, ensure_ascii=False)
    write_whole(out / "comparison.json", values + "\n")
    write_whole(out / "comparison.md", comparison_markdown(comparison))
    write_comparison_page(out / "comparison.html", comparison, (RULE, FIGURES_RULE), num_items)


def comparison_markdown(comparison: Comparison) -> str:
    """The comparison as a page for people."""
    lines = ["# Comparison", ""]
    for name, report in (("First", comparison.first), ("Second", comparison.second)):
        about = report.about
        keys = ("model", "weights", "code", "seed", "spoken")
        known = [f"{key} {about[key]}" for key in keys if key in about]
        lines.append(f"- {name}: {report.folder}, {', '.join(known)}")
    lines.append(f"- {len(comparison.pairs)} items in both, {comparison.missing} in only one")
    lines += [f"- Caution: {text}" for text in comparison.cautions]
    lines += ["", RULE, ""]
    lines += ["| Part | Measure | First | Second | Difference | The second is | Items |"]
    lines += ["|---|---|---|---|---|---|---|"]
    lines += [_row(d) for d in comparison.differences]
    if comparison.figures:
        lines += ["", FIGURES_RULE, "", "| Part | Measure | First | Second | Difference |"]
        lines += ["|---|---|---|---|---|", *(_figure_row(f) for f in comparison.figures)]
    return "\n".join(lines) + "\n"


def _figure_row(f: FigurePair) -> str:
    first, second = (shown_number(x, f.unit) for x in (f.first, f.second))
    return f"| {f.part} | {f.name} | {first} | {second} | {signed(f.second - f.first, f.unit)} |"


def _row(d: Difference) -> str:
    first, second = (shown_number(x, d.unit) for x in (d.first, d.second))
    shown = signed(d.difference, d.unit)
    if d.interval:
        low, high = (signed(bound, d.unit) for bound in d.interval)
        shown += f" (95 %: {low} to {high})"
    count = shown_count(d.count, d.groups)
    return f"| {' | '.join((d.part, d.name, first, second, shown, d.outcome, count))} |"
