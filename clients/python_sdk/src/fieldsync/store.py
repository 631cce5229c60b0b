"""Store: the one SQLite file of a device, and its replica, issues and small facts.

    meta      cursor, install id, tokens, who is logged in
    replica   the server tree: each row as last pulled, its data as the raw JSON received
    local     the local tree of the rows that were edited here: see `trees`
    outbox, batch, acked           see `outbox`: same file, same transactions
    issues    mutations that the server refused, until a person settles them

What must be true together is written in one `transaction()`. After a crash at any point the file
is as it was before or after a transaction, never between. Whoever writes says which rows it
touches: their local trees are made anew before the commit, and listeners are told after it. Called
by the engine only.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import msgspec

from fieldsync.connections import MEMORY, Readers, Writer, connect_plain, create_file
from fieldsync.errors import UpgradeRequired
from fieldsync.listeners import Cause, Listeners
from fieldsync.lock import StoreLock
from fieldsync.schema import STEPS, VERSION
from fieldsync.trees import refresh
from fieldsync.wire import parse_object, render_json

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from fieldsync.connections import Connect


class ServerRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row of the server tree; `text` is its data as received."""

    collection: str
    row_id: str
    version: int
    text: str

    @property
    def data(self) -> dict[str, Any]:
        """The row's fields."""
        return parse_object(self.text)


class IssueRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A refused mutation with everything the server said. Dicts are as on the wire."""

    id: int
    collection: str
    row_id: str
    op: str
    outcome: str
    code: str | None
    detail: str
    fields: list[str]
    base_version: int | None
    version: int | None
    mine: dict[str, Any]
    base: dict[str, Any] | None
    theirs: dict[str, Any] | None
    errors: list[dict[str, Any]]
    blocked_by: dict[str, Any] | None
    groups: list[str]
    created_at: str


class Store:
    """One device's file. Safe to share between threads; a transaction belongs to one of them.

    Raises: StoreInUse when another process has it, or this one already; UpgradeRequired when a
    newer version of the SDK has written it.
    """

    def __init__(
        self, path: str | Path, *, connect: Connect = connect_plain, flush_edits: bool = True
    ) -> None:
        self._path = str(path)
        self._held = None if self._path == MEMORY else StoreLock(self._path)
        try:
            create_file(self._path)
            self.writer: Writer = Writer(connect, self._path)
        except BaseException:
            self._let_go()
            raise
        self.listeners: Listeners = Listeners()
        self._readers = None if self._path == MEMORY else Readers(connect, self._path)
        self._depth = 0
        self._by = Cause.EDIT
        # What need not outlive a power cut by itself.
        self._unflushed = {Cause.PULL, Cause.ACK}
        if not flush_edits:
            self._unflushed |= {Cause.EDIT, Cause.ISSUE}
        self._touched: dict[tuple[str, str], Cause] = {}
        self._afterwards: dict[Callable[[], None], None] = {}
        try:
            self._migrate()
        except BaseException:
            self.close()
            raise

    def _migrate(self) -> None:
        found = self._version()
        if found > VERSION:
            raise UpgradeRequired(code="store_too_new", detail=f"store is of version {found}")
        for at, step in enumerate(STEPS[found:], start=found + 1):
            with self.transaction():
                for statement in step.statements:
                    self.writer.execute(statement)
                self.writer.execute(f"PRAGMA user_version = {at}")
                for name in self.writer.execute(step.stale) if step.stale else ():
                    self.touch(*name)

    def _version(self) -> int:
        return int(self.writer.value("PRAGMA user_version"))

    @contextmanager
    def transaction(self, by: Cause | None = None) -> Iterator[None]:
        """All or nothing, and alone: other threads wait. Nests by joining.

        It outlives the process when this ends. It outlives a power cut, too, and so does all that
        came before it: but for what the server can say again, a pull or an answer, and for edits
        if the app wants it so.
        """
        with self.writer.lock:
            if self._depth:
                yield
                return
            level = "NORMAL" if by in self._unflushed else "FULL"
            self.writer.execute(f"PRAGMA synchronous = {level}")
            self.writer.execute("BEGIN IMMEDIATE")
            self._depth += 1
            self._by = by or Cause.EDIT
            try:
                yield
                refresh(self.writer, self._touched)
                self.writer.execute("COMMIT")
            except BaseException:
                self._afterwards.clear()
                self._touched.clear()
                self.writer.roll_back()
                raise
            finally:
                self._depth -= 1
            afterwards, self._afterwards = self._afterwards, {}
            touched, self._touched = self._touched, {}
        for work in afterwards:
            work()
        self.listeners.tell(touched)

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """A connection that sees the last commit, for one statement; it waits for no writer."""
        with (self._readers or self.writer).lend() as connection:
            yield connection

    def after_commit(self, work: Callable[[], None]) -> None:
        """Have `work` done when the transaction under way is on the disk; once."""
        self._afterwards[work] = None

    def touch(self, collection: str, row_id: str, *, by: Cause | None = None) -> None:
        """Note that a tree of this row moves in the transaction under way."""
        self._touched[collection, row_id] = by or self._by

    def close(self) -> None:
        """Close the file. Nothing is pending in memory."""
        if self._readers is not None:
            self._readers.close()
        with self.writer.lock:  # nobody else has the file before this is through
            self.writer.close()
            self._let_go()

    def _let_go(self) -> None:
        if self._held is not None:
            self._held.release()

    # meta

    def get_meta(self, key: str) -> str | None:
        """The fact stored under `key`."""
        found = self.writer.first("SELECT value FROM meta WHERE key = ?", (key,))
        return None if found is None else str(found[0])

    def set_meta(self, **facts: str | None) -> None:
        """Store each fact under its name; None removes it."""
        with self.transaction():
            for key, value in facts.items():
                if value is None:
                    self.writer.execute("DELETE FROM meta WHERE key = ?", (key,))
                else:
                    self.writer.execute(
                        "INSERT INTO meta VALUES (?, ?)"
                        " ON CONFLICT (key) DO UPDATE SET value = excluded.value",
                        (key, value),
                    )

    @property
    def generation(self) -> int:
        """How many fresh pulls have begun on this store."""
        return int(self.get_meta("generation") or 0)

    # replica: the server tree

    def get_row(self, collection: str, row_id: str) -> ServerRow | None:
        """The row as last pulled."""
        found = self.writer.first(
            "SELECT collection, row_id, version, data FROM replica"
            " WHERE collection = ? AND row_id = ?",
            (collection, row_id),
        )
        return None if found is None else _server_row(found)

    def put_rows(self, rows: Iterable[tuple[str, str, int, str, int]]) -> None:
        """Make each the server tree of its row: collection, id, version, data, generation."""
        rows = list(rows)
        for collection, row_id, *_ in rows:
            self.touch(collection, row_id)
        self.writer.executemany(
            "INSERT INTO replica VALUES (?, ?, ?, ?, ?) ON CONFLICT (collection, row_id)"
            " DO UPDATE SET version = excluded.version, data = excluded.data,"
            " generation = excluded.generation",
            rows,
        )

    def advance_row(self, row: ServerRow) -> None:
        """Move the server tree forward by an answer, which does not count as having seen it."""
        self.touch(row.collection, row.row_id)
        self.writer.execute(
            "INSERT INTO replica VALUES (?, ?, ?, ?, 0) ON CONFLICT (collection, row_id)"
            " DO UPDATE SET version = excluded.version, data = excluded.data"
            " WHERE excluded.version > version",
            (row.collection, row.row_id, row.version, row.text),
        )

    def drop_rows(self, names: Iterable[tuple[str, str]]) -> None:
        """Forget rows of the server tree: collection, id."""
        names = list(names)
        for name in names:
            self.touch(*name)
        self.writer.executemany("DELETE FROM replica WHERE collection = ? AND row_id = ?", names)

    def list_slice(self, collection: str, after: str, limit: int) -> list[tuple[str, int, bytes]]:
        """(id, version, data) of the rows behind the id `after`, by id, as received."""
        return self.writer.execute(
            "SELECT row_id, version, CAST(data AS BLOB) FROM replica"
            " WHERE collection = ? AND row_id > ? ORDER BY row_id LIMIT ?",
            (collection, after, limit),
        )

    def list_ids(self, collection: str) -> list[str]:
        """The ids of a collection in the server tree."""
        rows = self.writer.execute(
            "SELECT row_id FROM replica WHERE collection = ?", (collection,)
        )
        return [row_id for (row_id,) in rows]

    def list_collections(self) -> list[str]:
        """The collections that have rows in the server tree: a look-up each, no scan."""
        rows = self.writer.execute(
            "WITH RECURSIVE name (name) AS (SELECT min(collection) FROM replica UNION ALL"
            " SELECT (SELECT min(collection) FROM replica WHERE collection > name) FROM name"
            " WHERE name IS NOT NULL) SELECT name FROM name WHERE name IS NOT NULL"
        )
        return [name for (name,) in rows]

    def list_unseen(self, generation: int) -> list[tuple[str, str]]:
        """(collection, id) of the rows that the fresh pull `generation` has not shown."""
        return self.writer.execute(
            "SELECT collection, row_id FROM replica WHERE generation < ?", (generation,)
        )

    def count_rows(self) -> int:
        """Rows in the server tree."""
        return int(self.writer.value("SELECT count(*) FROM replica"))

    # issues

    def add_issue(self, issue: IssueRecord) -> None:
        """Keep `issue` (its `id` is given here) until it is closed."""
        self.touch(issue.collection, issue.row_id, by=Cause.ISSUE)
        body = {name: getattr(issue, name) for name in _ISSUE_BODY}
        self.writer.execute(
            "INSERT INTO issue (collection, row_id, body) VALUES (?, ?, ?)",
            (issue.collection, issue.row_id, render_json(body)),
        )

    def list_issues(self) -> list[IssueRecord]:
        """Open issues, oldest first."""
        rows = self.writer.execute("SELECT * FROM issue ORDER BY id")
        return [_issue(row) for row in rows]

    def take_issue(self, issue_id: int) -> IssueRecord | None:
        """Remove and return an issue; None when it is already closed."""
        found = self.writer.first("SELECT * FROM issue WHERE id = ?", (issue_id,))
        self.writer.execute("DELETE FROM issue WHERE id = ?", (issue_id,))
        if found is None:
            return None
        issue = _issue(found)
        self.touch(issue.collection, issue.row_id, by=Cause.ISSUE)
        return issue

    def count_issues(self) -> int:
        """Open issues."""
        return int(self.writer.value("SELECT count(*) FROM issue"))

    def forget_everything(self) -> None:
        """Empty all tables but `meta`, for another user. The caller has checked the outbox."""
        for name in self.writer.execute(
            "SELECT collection, row_id FROM replica UNION SELECT collection, row_id FROM local"
        ):
            self.touch(*name)
        for table in ("outbox", "batch", "acked", "echoed", "replica", "issue"):
            self.writer.execute(f"DELETE FROM {table}")  # noqa: S608  # names from above
        self.set_meta(cursor=None, is_fresh=None, is_restored=None, checked_at=None)


_ISSUE_BODY = tuple(
    name for name in IssueRecord.__struct_fields__ if name not in {"id", "collection", "row_id"}
)


def _server_row(found: tuple[Any, ...]) -> ServerRow:
    collection, row_id, version, text = found
    return ServerRow(collection=collection, row_id=row_id, version=version, text=text)


def _issue(found: tuple[Any, ...]) -> IssueRecord:
    issue_id, collection, row_id, body = found
    return IssueRecord(id=issue_id, collection=collection, row_id=row_id, **parse_object(body))
