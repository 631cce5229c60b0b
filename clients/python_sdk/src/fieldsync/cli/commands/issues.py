"""Issues: what the server refused, and what becomes of it: issues, resolve, retry, discard."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from fieldsync.cli.exits import Exit
from fieldsync.cli.options import AsJson, IssueId
from fieldsync.cli.output import make_facts, make_table
from fieldsync.cli.run import running
from fieldsync.cli.values import parse_fields
from fieldsync.errors import IssueClosed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fieldsync.cli.run import Run
    from fieldsync.client import Client
    from fieldsync.issue import Issue

SIDES = ("mine", "theirs")


def issues(
    ctx: typer.Context,
    issue_id: Annotated[
        int | None, typer.Argument(metavar="[ISSUE]", help="Show only this one, in full.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """List refused work that waits for you, with both versions where they differ."""
    with running(ctx, as_json=as_json) as run, run.client() as client:
        found = client.issues() if issue_id is None else [_find(client, issue_id)]
        document = {"issues": [_document(issue) for issue in found]}
        if issue_id is None:
            run.output.show(document, _table(found) if found else Text("Nothing was refused."))
        else:
            run.output.show(document, make_facts(_facts(found[0])), _sides(found[0]))
        if found:
            run.exit_code = Exit.REFUSED


def _find(client: Client, issue_id: int) -> Issue:
    for issue in client.issues():
        if issue.id == issue_id:
            return issue
    raise IssueClosed(issue_id)


def _document(issue: Issue) -> dict[str, Any]:
    return {
        "id": issue.id,
        "collection": issue.collection,
        "row_id": issue.row_id,
        "op": issue.op,
        "outcome": issue.outcome,
        "code": issue.code,
        "detail": issue.detail,
        "fields": issue.fields,
        "errors": issue.errors,
        "base_version": issue.base_version,
        "version": issue.version,
        "mine": issue.mine,
        "base": issue.base,
        "theirs": issue.theirs,
        "blocked_by": issue.blocked_by,
        "is_parked": issue.is_parked,
        "created_at": issue.created_at,
    }


def _table(found: Sequence[Issue]) -> Any:
    return make_table(
        ("Issue", "Row", "What", "Outcome", "Why"),
        [
            (each.id, f"{each.collection} {each.row_id}", each.op, each.outcome, _why(each))
            for each in found
        ],
    )


def _why(issue: Issue) -> str:
    wrong = [f"{error.get('path')}: {error.get('detail')}" for error in issue.errors]
    return " ".join([issue.detail, *wrong])


def _facts(issue: Issue) -> list[tuple[str, object]]:
    return [
        ("Issue", issue.id),
        ("Row", f"{issue.collection} {issue.row_id}"),
        ("What", issue.op),
        ("Outcome", issue.outcome),
        ("Why", _why(issue)),
        ("Since", f"{issue.created_at:%Y-%m-%d %H:%M} UTC"),
    ]


def _sides(issue: Issue) -> Any:
    theirs, base = issue.theirs or {}, issue.base or {}
    return make_table(
        ("Field", "Before", "Mine", "Theirs"),
        [
            (name, base.get(name, ""), value, theirs.get(name, ""))
            for name, value in issue.mine.items()
        ],
    )


def resolve(
    ctx: typer.Context,
    issue_id: IssueId,
    keep: Annotated[
        list[str],
        typer.Option(
            "--keep",
            metavar="mine|theirs|FIELD=VALUE",
            help="Which version stands; or mine, with these values (repeat for more).",
        ),
    ],
    as_json: AsJson = False,
) -> None:
    """Settle refused work: keep mine, keep theirs, or set fields by hand."""
    with running(ctx, as_json=as_json) as run, run.client() as client:
        issue = _find(client, issue_id)
        choice: Any = keep[0] if len(keep) == 1 and keep[0] in SIDES else parse_fields(keep)
        row_id = issue.resolve(choice)
        _settled(run, issue, row_id)


def retry(ctx: typer.Context, issue_id: IssueId, as_json: AsJson = False) -> None:
    """Send refused work again as it was, after its cause was removed."""
    with running(ctx, as_json=as_json) as run, run.client() as client:
        issue = _find(client, issue_id)
        issue.retry()
        _settled(run, issue, issue.row_id)


def discard(ctx: typer.Context, issue_id: IssueId, as_json: AsJson = False) -> None:
    """Give refused work up for good."""
    with running(ctx, as_json=as_json) as run, run.client() as client:
        issue = _find(client, issue_id)
        issue.discard()
        _settled(run, issue, None)


def _settled(run: Run, issue: Issue, row_id: str | None) -> None:
    queued = f"; {row_id} is sent by the next sync." if row_id else "."
    run.output.show(
        {"id": issue.id, "collection": issue.collection, "queued": row_id},
        f"Issue {issue.id} is settled{queued}",
    )


COMMANDS: dict[str, Callable[..., None]] = {
    "issues": issues,
    "resolve": resolve,
    "retry": retry,
    "discard": discard,
}
