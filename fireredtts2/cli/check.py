"""`doctor` and `evaluate`: is it well, and how good is it."""

from __future__ import annotations

import dataclasses
import json
from typing import Annotated

import typer

from fireredtts2.cli import options
from fireredtts2.cli.errors import ExitCode, reported

MARKS = {"ok": ("ok   ", "green"), "note": ("note ", "yellow"), "fault": ("FAULT", "red")}


@reported
def doctor(
    model: options.Model = options.DEFAULT_MODEL,
    device: options.Device = "auto",
    as_json: options.AsJson = False,
    no_speak: Annotated[bool, typer.Option("--no-speak", help="Do not try to speak.")] = False,
) -> None:
    """Check the installation, the devices, the model, and whether it speaks.

    Says how to mend what is wrong. Ends with 0 when all is well, with 1 when there is a fault.
    """
    from fireredtts2.doctor import Finding, examine

    findings: list[Finding] = []
    for finding in examine(model, device, speak=not no_speak):
        findings.append(finding)
        if not as_json:
            _show(finding.status, finding.subject, finding.detail, finding.remedy)
    has_fault = any(finding.status == "fault" for finding in findings)
    if as_json:
        values = [dataclasses.asdict(finding) for finding in findings]
        typer.echo(json.dumps({"ok": not has_fault, "findings": values}, indent=2))
    raise typer.Exit(ExitCode.FAULT if has_fault else ExitCode.OK)


@reported
def evaluate(context: typer.Context) -> None:
    """Measure the model; the same as `python -m fireredtts2.evaluation`."""
    from fireredtts2.evaluation.__main__ import main

    raise typer.Exit(main(context.args))


def _show(status: str, subject: str, detail: str, remedy: str) -> None:
    mark, color = MARKS[status]
    typer.echo(f"{typer.style(mark, fg=color)} {subject}: {detail}")
    if remedy:
        typer.echo(f"      {remedy}")
