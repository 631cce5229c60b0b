"""Rows: ls, show, new, edit, rm, undo. None of them needs a link."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fieldsync.cli.options import AsJson, Collection, Fields, RowId, Source
from fieldsync.cli.output import make_facts, make_table, to_document
from fieldsync.cli.run import running
from fieldsync.cli.values import parse_fields, read_object
from fieldsync.errors import RowNotFound

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fieldsync.cli.run import Run
    from fieldsync.client import Client
    from fieldsync.engine.rows import Row

LIMIT = 50  # rows; a screen or two
COLUMNS_MAX = 6  # fields in a table; --json has them all


def ls(
    ctx: typer.Context,
    collection: Collection,
    where: Annotated[
        list[str] | None,
        typer.Option(
            "--where",
            metavar="FIELD=VALUE",
            help="Only rows with it, or FIELD__gt=VALUE and so on; repeat for more.",
        ),
    ] = None,
    order: Annotated[
        list[str] | None,
        typer.Option("--order", metavar="FIELD", help="Sort by it; -FIELD backwards."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many at most.")] = LIMIT,
    as_json: AsJson = False,
) -> None:
    """List rows of a collection, the newest edits of this device included."""
    with running(ctx, as_json=as_json) as run, run.client() as client:
        chosen = {_plain(name): value for name, value in parse_fields(where or ()).items()}
        found = client.collection(collection)
        rows = found.query(order=order or (), limit=limit, **chosen)
        left_off = found.count(**chosen) - len(rows)
        document = {"rows": [to_document(row) for row in rows], "left_off": left_off}
        run.output.show(document, _table(rows))
        if left_off and not as_json:
            run.output.tell(f"{left_off} more: --limit {len(rows) + left_off}")


def _plain(name: str) -> str:
    """The name of a field in a query, also where it is one of its options."""
    return f"{name}__eq" if name in {"order", "limit", "offset"} else name


def _table(rows: Sequence[Row]) -> Any:
    names: dict[str, None] = {}
    for row in rows:
        names.update(dict.fromkeys(row.data))
    columns = list(names)[:COLUMNS_MAX]
    return make_table(
        ["ID", "Version", *columns],
        [[row.id, _version(row), *(row.data.get(name, "") for name in columns)] for row in rows],
    )


def _version(row: Row) -> str:
    version = "new" if row.version is None else str(row.version)
    return f"{version} *" if row.is_pending else version


def show(
    ctx: typer.Context, collection: Collection, row_id: RowId, as_json: AsJson = False
) -> None:
    """Show a row in full."""
    with running(ctx, as_json=as_json) as run, run.client() as client:
        _show_row(run, client, collection, row_id)


def _show_row(run: Run, client: Client, collection: str, row_id: str) -> None:
    row = client.collection(collection).get(row_id)
    if row is None:
        raise RowNotFound(collection, row_id)
    facts: list[tuple[str, object]] = [("ID", row.id), ("Version", _version(row))]
    run.output.show(to_document(row), make_facts([*facts, *row.data.items()]))


def new(
    ctx: typer.Context,
    collection: Collection,
    fields: Fields = None,
    source: Source = None,
    row_id: Annotated[
        str | None, typer.Option("--id", help="Its id; otherwise a new one is made.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make a row. It is sent by the next sync."""
    with running(ctx, as_json=as_json) as run, run.client() as client:
        made = client.collection(collection).create(_read_fields(fields, source), id=row_id)
        _show_row(run, client, collection, made)


def edit(
    ctx: typer.Context,
    collection: Collection,
    row_id: RowId,
    fields: Fields = None,
    source: Source = None,
    as_json: AsJson = False,
) -> None:
    """Change fields of a row; the others stay. It is sent by the next sync."""
    with running(ctx, as_json=as_json) as run, run.client() as client:
        client.collection(collection).update(row_id, _read_fields(fields, source))
        _show_row(run, client, collection, row_id)


def _read_fields(words: Sequence[str] | None, source: str | None) -> dict[str, Any]:
    """The fields given, those typed on top of those of the file. Raises: ValueError when none."""
    given = read_object(source) if source is not None else {}
    given |= parse_fields(words or ())
    if not given:
        raise ValueError("no field was given: field=value, or --from FILE")
    return given


def rm(ctx: typer.Context, collection: Collection, row_id: RowId, as_json: AsJson = False) -> None:
    """Delete a row. The deletion is sent by the next sync."""
    with running(ctx, as_json=as_json) as run, run.client() as client:
        client.collection(collection).delete(row_id)
        run.output.show({"collection": collection, "id": row_id}, f"{row_id} is deleted.")


def undo(
    ctx: typer.Context, collection: Collection, row_id: RowId, as_json: AsJson = False
) -> None:
    """Give up what was changed in a row and not sent yet."""
    with running(ctx, as_json=as_json) as run, run.client() as client:
        undone = client.collection(collection).undo(row_id)
        document = {"collection": collection, "id": row_id, "undone": undone}
        sentence = "There is nothing to undo." if undone is None else f"Undone: {undone.op}."
        run.output.show(document, sentence)


COMMANDS: dict[str, Callable[..., None]] = {
    "ls": ls,
    "show": show,
    "new": new,
    "edit": edit,
    "rm": rm,
    "undo": undo,
}
