"""Options: what many commands take, worded once."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from fieldsync.cli.exits import Exit, Refusal
from fieldsync.cli.run import WAIT_S

AsJson = Annotated[bool, typer.Option("--json", help="Write one JSON document, and nothing else.")]
Wait = Annotated[
    float,
    typer.Option("--wait", min=0, help="Seconds to wait for a link before giving up."),
]
Collection = Annotated[
    str, typer.Argument(metavar="COLLECTION", help="The kind of row, such as work_orders.")
]
RowId = Annotated[str, typer.Argument(metavar="ID", help="The row's id.")]
Fields = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="FIELD=VALUE...",
        help="Values are JSON (priority=1, done=true, tags='[\"a\"]'), or else text (title=Pump).",
    ),
]
Source = Annotated[
    str | None,
    typer.Option("--from", metavar="FILE", help="Take fields from a JSON object; - is stdin."),
]
IssueId = Annotated[int, typer.Argument(metavar="ISSUE", help="The number that `issues` shows.")]

__all__ = ["WAIT_S", "AsJson", "Collection", "Fields", "IssueId", "RowId", "Source", "Wait"]


def ask_secret(name: str, *, from_stdin: bool, is_new: bool = False) -> str:
    """A secret: the first line of stdin, or what is typed unseen (twice, if it `is_new`).

    Raises: Refusal when there is nobody to ask.
    """
    if from_stdin:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        raise Refusal(
            Exit.USAGE,
            "secret_missing",
            f"there is no terminal to ask for the {name.lower()}",
            f"give it on standard input, with --{name.lower()}-stdin",
        )
    secret: str = typer.prompt(name, hide_input=True, confirmation_prompt=is_new, err=True)
    return secret
