"""Examine: doctor, which says what is wrong."""

from __future__ import annotations

from collections.abc import Callable

import typer
from rich.text import Text

from fieldsync.cli.exits import exit_of_findings
from fieldsync.cli.options import AsJson
from fieldsync.cli.output import to_document
from fieldsync.cli.run import running
from fieldsync.doctor import Finding, Level, examine

MARKS = {
    Level.OK: ("ok     ", "green"),
    Level.WARNING: ("warning", "yellow"),
    Level.BROKEN: ("broken ", "red"),
}


def doctor(ctx: typer.Context, as_json: AsJson = False) -> None:
    """Say what is wrong with the store, the link, the login or the rows, and what to do."""
    with running(ctx, as_json=as_json) as run:
        findings: list[Finding] = []
        place = run.place
        for finding in examine(place.store, url=place.url, tokens=place.tokens):
            findings.append(finding)
            if not as_json:
                run.output.console.print(_line(finding))
        run.exit_code = exit_of_findings(findings)
        if as_json:
            run.output.write_json({"findings": [to_document(finding) for finding in findings]})


def _line(finding: Finding) -> Text:
    mark, style = MARKS[finding.level]
    line = Text.assemble((mark, style), f"  {finding.check}: {finding.found}")
    if finding.remedy:
        line.append(f"\n         -> {finding.remedy}")
    return line


COMMANDS: dict[str, Callable[..., None]] = {"doctor": doctor}
