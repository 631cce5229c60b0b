"""Store: the one SQLite file of a device, and its replica, issues and small facts.

    meta      cursor, install id, tokens, who is logged in
    replica   the server tree: each row as last pulled, its data as the raw JSON received
    outbox, batch, acked           see `outbox`: same file, same transactions
    issues    mutations that the server refused, until a person settles them

What must be true together is written in one `transaction()`. After a crash at any point the file
is as it was before or after a transaction, never between. Called by the engine only.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fieldsync.errors import UpgradeRequired
from fieldsync.wire import parse_object, render_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SCHEMA_VERSION = 1
BUSY_TIMEOUT_S = 10.0  # another process holds the file for one transaction, not for a sync

SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE replica (
  collection TEXT NOT NULL,
  row_id TEXT NOT NULL,
  version INTEGER NOT NULL,
  data TEXT NOT NULL,
  generation INTEGER NOT NULL,            -- the fresh pull that last saw the row
  PRIMARY KEY (collection, row_id)
) WITHOUT ROWID;
CREATE TABLE batch (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  place REAL NOT NULL UNIQUE,             -- batches are sent in this order
  key TEXT NOT NULL UNIQUE,
  body BLOB NOT NULL                      -- the exact bytes of every try
);
CREATE TABLE outbox (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  collection TEXT NOT NULL,
  row_id TEXT NOT NULL,
  revision INTEGER NOT NULL,              -- counts the row's local edits while it waits
  op TEXT NOT NULL CHECK (op IN ('create', 'update', 'delete')),
  data TEXT NOT NULL,
  base_version INTEGER,
  base TEXT,                              -- the row that the edit was made on
  groups TEXT NOT NULL,
  created_at TEXT NOT NULL,
  batch INTEGER REFERENCES batch (seq),   -- null: pending; else sent, position in the batch
  position INTEGER,
  CHECK ((batch IS NULL) = (position IS NULL))
);
CREATE UNIQUE INDEX outbox_pending ON outbox (collection, row_id) WHERE batch IS NULL;
CREATE UNIQUE INDEX outbox_sent ON outbox (collection, row_id) WHERE batch IS NOT NULL;
CREATE UNIQUE INDEX outbox_batch ON outbox (batch, position) WHERE batch IS NOT NULL;
CREATE TABLE acked (
  seq INTEGER PRIMARY KEY AUTOINCREMENT,
  collection TEXT NOT NULL,
  row_id TEXT NOT NULL,
  op TEXT NOT NULL,
  data TEXT NOT NULL,
  base_version INTEGER,
  groups TEXT NOT NULL,
  version INTEGER NOT NULL,               -- seen once the row is pulled at this version or later
  basis INTEGER,                          -- the version that an edit made now may claim to know
  generation INTEGER NOT NULL             -- fresh pulls begun before the ack
);
CREATE INDEX acked_row ON acked (collection, row_id);
CREATE TABLE issue (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  collection TEXT NOT NULL,
  row_id TEXT NOT NULL,
  body TEXT NOT NULL
);
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerRow:
    """A row of the server tree; `text` is its data as received."""

    collection: str
    row_id: str
    version: int
    text: str

    @property
    def data(self) -> dict[str, Any]:
        """The row's fields."""
        return parse_object(self.text)


@dataclass(frozen=True, slots=True, kw_only=True)
class IssueRecord:
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
    """One device's file. Safe to share between threads; a transaction belongs to one of them."""

    def __init__(self, path: str | Path) -> None:
        if str(path) != ":memory:":
            # It will hold tokens and customer data: readable by its owner only.
            os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        self.connection: sqlite3.Connection = sqlite3.connect(
            path, isolation_level=None, check_same_thread=False, timeout=BUSY_TIMEOUT_S
        )
        self._lock = threading.RLock()
        self._depth = 0
        self._afterwards: dict[Callable[[], None], None] = {}
        self.connection.execute("PRAGMA journal_mode = WAL")
        # A batch must be on the disk, not in its cache, before its first byte is sent.
        self.connection.execute("PRAGMA synchronous = FULL")
        self.connection.execute("PRAGMA foreign_keys = ON")
        self._migrate()

    def _migrate(self) -> None:
        with self.transaction():
            (found,) = self.connection.execute("PRAGMA user_version").fetchone()
            if found > SCHEMA_VERSION:
                raise UpgradeRequired(code="store_too_new", detail=f"store is of version {found}")
            if found == 0:
                for statement in SCHEMA.split(";\n"):
                    self.connection.execute(statement)
                self.connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All or nothing, and alone: other threads and processes wait. Nests by joining."""
        with self._lock:
            if self._depth:
                yield
                return
            self.connection.execute("BEGIN IMMEDIATE")
            self._depth += 1
            try:
                yield
                self.connection.execute("COMMIT")
            except BaseException:
                self._afterwards.clear()
                if self.connection.in_transaction:
                    self.connection.execute("ROLLBACK")
                raise
            finally:
                self._depth -= 1
            afterwards, self._afterwards = self._afterwards, {}
        for work in afterwards:
            work()

    def after_commit(self, work: Callable[[], None]) -> None:
        """Have `work` done when the transaction under way is on the disk; once."""
        self._afterwards[work] = None

    def close(self) -> None:
        """Close the file. Nothing is pending in memory."""
        with self._lock:
            self.connection.close()

    # meta

    def get_meta(self, key: str) -> str | None:
        """The fact stored under `key`."""
        with self._lock:
            found = self.connection.execute(
                "SELECT value FROM meta WHERE key = ?", (key,)
            ).fetchone()
        return None if found is None else str(found[0])

    def set_meta(self, **facts: str | None) -> None:
        """Store each fact under its name; None removes it."""
        with self.transaction():
            for key, value in facts.items():
                if value is None:
                    self.connection.execute("DELETE FROM meta WHERE key = ?", (key,))
                else:
                    self.connection.execute(
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
        found = self.connection.execute(
            "SELECT collection, row_id, version, data FROM replica"
            " WHERE collection = ? AND row_id = ?",
            (collection, row_id),
        ).fetchone()
        return None if found is None else _server_row(found)

    def list_rows(self, collection: str) -> list[ServerRow]:
        """All rows of a collection as last pulled, by id."""
        rows = self.connection.execute(
            "SELECT collection, row_id, version, data FROM replica"
            " WHERE collection = ? ORDER BY row_id",
            (collection,),
        )
        return [_server_row(row) for row in rows]

    def put_row(self, row: ServerRow, *, generation: int) -> None:
        """Make `row` the server tree of its row, seen in that fresh pull."""
        self.connection.execute(
            "INSERT INTO replica VALUES (?, ?, ?, ?, ?) ON CONFLICT (collection, row_id)"
            " DO UPDATE SET version = excluded.version, data = excluded.data,"
            " generation = excluded.generation",
            (row.collection, row.row_id, row.version, row.text, generation),
        )

    def advance_row(self, row: ServerRow) -> None:
        """Move the server tree forward by an answer, which does not count as having seen it."""
        self.connection.execute(
            "INSERT INTO replica VALUES (?, ?, ?, ?, 0) ON CONFLICT (collection, row_id)"
            " DO UPDATE SET version = excluded.version, data = excluded.data"
            " WHERE excluded.version > version",
            (row.collection, row.row_id, row.version, row.text),
        )

    def drop_row(self, collection: str, row_id: str) -> None:
        """Forget a row of the server tree."""
        self.connection.execute(
            "DELETE FROM replica WHERE collection = ? AND row_id = ?", (collection, row_id)
        )

    def list_unseen(self, generation: int) -> list[tuple[str, str]]:
        """(collection, id) of the rows that the fresh pull `generation` has not shown."""
        return self.connection.execute(
            "SELECT collection, row_id FROM replica WHERE generation < ?", (generation,)
        ).fetchall()

    def count_rows(self) -> int:
        """Rows in the server tree."""
        return _count(self.connection, "SELECT count(*) FROM replica")

    # issues

    def add_issue(self, issue: IssueRecord) -> None:
        """Keep `issue` (its `id` is given here) until it is closed."""
        body = {name: getattr(issue, name) for name in _ISSUE_BODY}
        self.connection.execute(
            "INSERT INTO issue (collection, row_id, body) VALUES (?, ?, ?)",
            (issue.collection, issue.row_id, render_json(body)),
        )

    def list_issues(self) -> list[IssueRecord]:
        """Open issues, oldest first."""
        with self._lock:
            rows = self.connection.execute("SELECT * FROM issue ORDER BY id").fetchall()
        return [_issue(row) for row in rows]

    def take_issue(self, issue_id: int) -> IssueRecord | None:
        """Remove and return an issue; None when it is already closed."""
        found = self.connection.execute("SELECT * FROM issue WHERE id = ?", (issue_id,)).fetchone()
        self.connection.execute("DELETE FROM issue WHERE id = ?", (issue_id,))
        return None if found is None else _issue(found)

    def count_issues(self) -> int:
        """Open issues."""
        return _count(self.connection, "SELECT count(*) FROM issue")

    def forget_everything(self) -> None:
        """Empty all tables but `meta`, for another user. The caller has checked the outbox."""
        for table in ("outbox", "batch", "acked", "replica", "issue"):
            self.connection.execute(f"DELETE FROM {table}")  # noqa: S608  # names from above
        self.set_meta(cursor=None, is_fresh=None)


_ISSUE_BODY = tuple(
    name for name in IssueRecord.__slots__ if name not in {"id", "collection", "row_id"}
)


def _server_row(found: tuple[Any, ...]) -> ServerRow:
    collection, row_id, version, text = found
    return ServerRow(collection=collection, row_id=row_id, version=version, text=text)


def _issue(found: tuple[Any, ...]) -> IssueRecord:
    issue_id, collection, row_id, body = found
    return IssueRecord(id=issue_id, collection=collection, row_id=row_id, **parse_object(body))


def _count(connection: sqlite3.Connection, query: str) -> int:
    (number,) = connection.execute(query).fetchone()
    return int(number)
