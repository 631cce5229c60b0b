"""Rows: what the app reads, at any time and from any thread.

    query -> SQL over `replica` and `local` -> rows, one after the other

Each read sees the store as one commit left it, and waits for no edit and no sync.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from fieldsync.query import Query, render_index
from fieldsync.wire import parse_object

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fieldsync.store import Store


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A row as the app sees it: the server's state with this device's edits on top.

    `version` is the server's, None before the row was pulled for the first time. `is_pending`
    says that an edit of it has no answer yet.
    """

    collection: str
    id: str
    version: int | None
    data: dict[str, Any]
    is_pending: bool


class Rows:
    """The rows of one store in the local view."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def get(self, collection: str, row_id: str) -> Row | None:
        """The row, or None when this device does not hold it (or has deleted it)."""
        query = Query(collection=collection, where={"id": row_id})
        return next(self.iterate(query), None)

    def iterate(self, query: Query) -> Iterator[Row]:
        """The same, one by one, all as they were at the first one."""
        sql, values = query.select()
        return self._iterate(query.collection, sql, values)

    def _iterate(self, collection: str, sql: str, values: list[Any]) -> Iterator[Row]:
        with self._store.reading() as connection:
            cursor = connection.execute(sql, values)
            try:
                for row_id, version, text, is_pending, *_ in cursor:
                    yield Row(
                        collection=collection,
                        id=row_id,
                        version=version,
                        data=parse_object(text),
                        is_pending=bool(is_pending),
                    )
            finally:
                cursor.close()  # or it would hold on to its moment

    def count(self, query: Query) -> int:
        """How many rows `query` asks for, whatever its limit."""
        sql, values = query.count()
        with self._store.reading() as connection:
            (number,) = connection.execute(sql, values).fetchone()
        return int(number)

    def index(self, collection: str, fields: Sequence[str]) -> None:
        """See that there is an index of `fields`; once it is there this costs next to nothing."""
        statement = render_index(collection, fields)
        with self._store.transaction():
            self._store.writer.execute(statement)
