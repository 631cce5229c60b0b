"""Trees: what the server has of a row, what edits were made on, and what the app sees.

    server   `replica`: the row as last pulled
    base     in the outbox: the row that an edit was made on
    local    `local`: the server tree with all edits on top, of every row that has any

The local tree is made here, and only here: by `refresh`, in the transaction that moved what it is
made of. A row without a line in `local` is seen as the server has it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from fieldsync.merge import Edit, local_view
from fieldsync.wire import Op, parse_object, render_json

if TYPE_CHECKING:
    from collections.abc import Collection

    from fieldsync.connections import Writer

    Name = tuple[str, str]  # collection, id

FEW = 8  # rows: it costs as much to ask which of them have edits as to look at each

# Of the rows named in a JSON list those that have a local tree, or must get one.
OVERLAID = """
WITH named AS (
  SELECT json_extract(value, '$[0]') AS collection, json_extract(value, '$[1]') AS row_id
  FROM json_each(?)
)
SELECT collection, row_id FROM named AS n
 WHERE EXISTS (SELECT 1 FROM local AS t WHERE (t.collection, t.row_id) = (n.collection, n.row_id))
    OR EXISTS (SELECT 1 FROM acked AS t WHERE (t.collection, t.row_id) = (n.collection, n.row_id))
    OR EXISTS (SELECT 1 FROM outbox AS t
                WHERE (t.collection, t.row_id) = (n.collection, n.row_id) AND t.batch IS NULL)
    OR EXISTS (SELECT 1 FROM outbox AS t
                WHERE (t.collection, t.row_id) = (n.collection, n.row_id) AND t.batch IS NOT NULL)
"""
HAS_EDITS = """
SELECT EXISTS (SELECT 1 FROM local) OR EXISTS (SELECT 1 FROM outbox)
    OR EXISTS (SELECT 1 FROM acked)
"""
OVERLAYS = """
SELECT 0 AS layer, seq, op, data, base_version, groups FROM acked
 WHERE collection = ?1 AND row_id = ?2 AND version > coalesce(
   (SELECT version FROM replica WHERE collection = ?1 AND row_id = ?2), 0)
UNION ALL
SELECT CASE WHEN batch IS NULL THEN 2 ELSE 1 END, seq, op, data, base_version, groups FROM outbox
 WHERE collection = ?1 AND row_id = ?2 AND batch IS NULL
UNION ALL
SELECT CASE WHEN batch IS NULL THEN 2 ELSE 1 END, seq, op, data, base_version, groups FROM outbox
 WHERE collection = ?1 AND row_id = ?2 AND batch IS NOT NULL
ORDER BY 1, 2
"""  # the outbox twice: its indexes are partial
# What a merge has answered is in the server tree, and so are the acks before it, or what others
# have made of them since.


def list_overlays(writer: Writer, collection: str, row_id: str) -> list[tuple[Edit, bool]]:
    """Everything to lay over the row's server tree: acked, then sent, then pending edits.

    Each with whether it still waits for an answer.
    """
    rows = writer.execute(OVERLAYS, (collection, row_id))
    return [(parse_edit(*parts), layer > 0) for layer, _, *parts in rows]


def parse_edit(op: str, data: str, base_version: int | None, groups: str) -> Edit:
    """An edit from the columns that hold it."""
    return Edit(
        op=Op(op),
        data=parse_object(data),
        base_version=base_version,
        groups=frozenset(msgspec.json.decode(groups, type=list[str])),
    )


def refresh(writer: Writer, names: Collection[Name]) -> None:
    """Make the local trees of these rows anew, whose server trees or edits have moved."""
    for name in names if len(names) <= FEW else _list_overlaid(writer, names):
        _refresh_row(writer, *name)


def _list_overlaid(writer: Writer, names: Collection[Name]) -> list[Name]:
    """Those that a refresh could change; of a page that is pulled, mostly none."""
    if not writer.value(HAS_EDITS):
        return []
    return writer.execute(OVERLAID, (render_json(list(names)),))


def _refresh_row(writer: Writer, collection: str, row_id: str) -> None:
    overlays = list_overlays(writer, collection, row_id)
    if not overlays:
        writer.execute(
            "DELETE FROM local WHERE collection = ? AND row_id = ?", (collection, row_id)
        )
        return
    server = writer.first(
        "SELECT version, data FROM replica WHERE collection = ? AND row_id = ?",
        (collection, row_id),
    )
    version, text = server or (None, None)
    view = local_view(None if text is None else parse_object(text), [edit for edit, _ in overlays])
    writer.execute(
        "INSERT OR REPLACE INTO local VALUES (?, ?, ?, ?, ?)",
        (
            *(collection, row_id, version, None if view is None else render_json(view)),
            any(is_waiting for _, is_waiting in overlays),
        ),
    )
