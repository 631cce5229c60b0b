"""The store's file: from version to version, and never in two hands."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from phone import Phone

import fieldsync
from fieldsync.connections import connect_plain
from fieldsync.schema import VERSION
from fieldsync.store import Store
from fieldsync.testing import FakeServer
from fieldsync.trees import FEW

WAIT_S = 20.0  # a bound, never reached
STATEMENTS_MAX = 200  # of an opening
FULL = 2  # of `PRAGMA synchronous`

# The schema of version 1, as it is in the field: never to be edited.
VERSION_1 = """
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
PRAGMA user_version = 1;
"""

AT = "2026-01-02T03:04:05+00:00"
BATCH = json.dumps(
    {
        "policy": "per_row",
        "mutations": [
            {
                "op": "update",
                "collection": "work_orders",
                "id": "sent",
                "base_version": 1,
                "data": {"title": "Sent"},
            }
        ],
    },
    separators=(",", ":"),
).encode()
ISSUE = {
    "op": "update",
    "outcome": "conflict",
    "code": "version_mismatch",
    "detail": "Changed by somebody else.",
    "fields": ["title"],
    "base_version": 1,
    "version": 1,
    "mine": {"title": "Refused"},
    "base": {"title": "refused"},
    "theirs": {"title": "theirs"},
    "errors": [],
    "blocked_by": None,
    "groups": [],
    "created_at": AT,
}
ROWS = ("kept", "pending", "sent", "acked", "deleted", "refused")


def outbox(
    row_id: str, op: str, data: dict[str, Any], batch: int | None = None
) -> tuple[Any, ...]:
    base = None if op == "create" else json.dumps({"title": row_id})
    version = None if op == "create" else 1
    position = None if batch is None else 0
    return (row_id, op, json.dumps(data), version, base, AT, batch, position)


def make_version_1(path: Path, cursor: str = "1:0") -> None:
    """The file of a device of version 1 with work in every state."""
    connection = sqlite3.connect(path)
    connection.executescript(f"PRAGMA journal_mode = WAL;{VERSION_1}")
    with connection:
        facts = {"install_id": "i", "access": "access-1", "refresh": "refresh-1", "device": "d"}
        facts |= {"username": "tess", "user_id": "user-1", "tenant_id": "t1", "tenant": "wales"}
        facts |= {"cursor": cursor, "generation": "1"}
        connection.executemany("INSERT INTO meta VALUES (?, ?)", facts.items())
        connection.executemany(
            "INSERT INTO replica VALUES ('work_orders', ?, 1, ?, 1)",
            [(name, json.dumps({"title": name})) for name in ROWS],
        )
        connection.execute("INSERT INTO batch VALUES (1, 1, 'a-key', ?)", (BATCH,))
        connection.executemany(
            "INSERT INTO outbox (collection, row_id, revision, op, data, base_version, base, groups,"
            " created_at, batch, position) VALUES ('work_orders', ?, 1, ?, ?, ?, ?, '[]', ?, ?, ?)",
            [
                outbox("pending", "update", {"title": "Pending"}),
                outbox("made", "create", {"title": "Made"}),
                outbox("deleted", "delete", {}),
                outbox("sent", "update", {"title": "Sent"}, batch=1),
                outbox("sent", "update", {"note": "and edited again"}),
            ],
        )
        connection.execute(
            "INSERT INTO acked (collection, row_id, op, data, base_version, groups, version, basis,"
            " generation) VALUES ('work_orders', 'acked', 'update', ?, 1, '[]', 2, 2, 1)",
            (json.dumps({"title": "Acked"}),),
        )
        connection.execute(
            "INSERT INTO issue (collection, row_id, body) VALUES ('work_orders', 'refused', ?)",
            (json.dumps(ISSUE),),
        )
    connection.close()


SEEN = {
    "acked": {"title": "Acked"},
    "kept": {"title": "kept"},
    "made": {"title": "Made"},
    "pending": {"title": "Pending"},
    "refused": {"title": "refused"},
    "sent": {"title": "Sent", "note": "and edited again"},
}


def look(client: fieldsync.Client) -> dict[str, dict[str, Any]]:
    return {row.id: row.data for row in client.collection("work_orders").all()}


def test_file_of_version_1_is_brought_up_to_date_and_loses_nothing(tmp_path: Path) -> None:
    """Phones update their app with unsent work on them."""
    make_version_1(tmp_path / "phone.db")

    with fieldsync.Client("http://server", store=tmp_path / "phone.db") as client:
        status = client.status()
        (issue,) = client.issues()
        seen = look(client)
        pending = {row.id for row in client.collection("work_orders").all() if row.is_pending}

    assert seen == SEEN
    assert pending == {"made", "pending", "sent"}
    assert (status.pending, status.sent, status.acked_unseen, status.issues) == (4, 1, 1, 1)
    assert (status.rows, status.username, status.has_cursor) == (6, "tess", True)
    assert (issue.row_id, issue.mine, issue.theirs) == (
        "refused",
        {"title": "Refused"},
        {"title": "theirs"},
    )
    assert version_of(tmp_path / "phone.db") == VERSION


def test_every_row_of_version_1_with_an_edit_gets_its_local_tree(tmp_path: Path) -> None:
    """However many there are."""
    path = tmp_path / "phone.db"
    make_version_1(path)
    with contextlib.closing(sqlite3.connect(path)) as connection, connection:
        connection.executemany(
            "INSERT INTO acked (collection, row_id, op, data, base_version, groups, version, basis,"
            " generation) VALUES ('work_orders', ?, 'create', ?, NULL, '[]', 1, 1, 1)",
            [(f"acked-{at}", json.dumps({"title": "Acked"})) for at in range(2 * FEW)],
        )

    with fieldsync.Client("http://server", store=path) as client:
        assert client.collection("work_orders").count(title="Acked") == 1 + 2 * FEW


def test_work_of_version_1_is_sent_with_its_old_key_and_bytes(
    server: FakeServer, tmp_path: Path
) -> None:
    """The batch may be on the server already."""
    office = Phone(server, tmp_path / "office.db").login()
    for name in ROWS:
        office["work_orders"].create({"title": name}, id=name)
    office.sync()
    server.edit("work_orders", "acked", title="Acked")
    office.client.close()
    make_version_1(tmp_path / "phone.db", f"{server.epoch}:0")
    phone = Phone(server, tmp_path / "phone.db").login()

    phone.sync()

    assert ('"a-key"', BATCH) in server.pushes()
    titles = {name: row["title"] for name, row in server.live("work_orders").items()}
    assert titles == {name: row["title"] for name, row in SEEN.items()}
    assert phone.view("work_orders") == server.live("work_orders")
    phone.client.close()


def version_of(path: Path) -> int:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        (found,) = connection.execute("PRAGMA user_version").fetchone()
    return int(found)


class Died(BaseException):
    """No code may catch this, as none runs after a kill."""


class DyingConnection(sqlite3.Connection):
    """A connection that stops for good before its last statement."""

    left: int

    def execute(self, *values: Any) -> sqlite3.Cursor:
        if self.left == 0:
            raise Died
        self.left -= 1
        return super().execute(*values)


def test_death_in_mid_migration_leaves_the_old_version(tmp_path: Path) -> None:
    """Before any statement of the opening: the next one finds some version, whole."""
    versions = []
    for last in range(STATEMENTS_MAX):
        path = tmp_path / f"{last}.db"
        make_version_1(path)

        def connect(name: str, last: int = last) -> sqlite3.Connection:
            made = sqlite3.connect(name, factory=DyingConnection, check_same_thread=False)
            made.left = last
            return made

        try:
            Store(path, connect=connect).close()
        except Died:
            versions.append(version_of(path))
            with fieldsync.Client("http://server", store=path) as client:
                assert look(client) == SEEN
        else:
            break

    assert set(versions) == set(range(1, VERSION))
    assert len(versions) > 10


def test_failed_opening_lets_go_of_the_file(tmp_path: Path) -> None:
    """Whatever was wrong, the next try is not told that somebody else has it."""
    path = tmp_path / "phone.db"
    path.write_text("this is not a database, however long it may be" * 100)

    for _ in range(2):
        with pytest.raises(sqlite3.DatabaseError, match="not a database"):
            Store(path)


# who has it


HOLD = """
import sys, fieldsync
client = fieldsync.Client("http://server", store=sys.argv[1])
client.collection("notes").create({"text": "from the other process"}, id="n1")
print("held", flush=True)
sys.stdin.read()
"""


@contextlib.contextmanager
def other_process(path: Path, program: str = HOLD) -> Any:
    """A process that has the store open."""
    child = subprocess.Popen(  # noqa: S603  # our own program
        [sys.executable, "-c", program, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    try:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        yield child
    finally:
        child.kill()
        child.communicate(timeout=WAIT_S)


def test_second_process_is_refused_and_told_who_has_the_store(tmp_path: Path) -> None:
    """Two programs on one outbox would send each other's work in their own names."""
    path = tmp_path / "phone.db"
    with other_process(path) as other:
        with pytest.raises(fieldsync.StoreInUse, match=f"process {other.pid} \\(-c\\)") as refused:
            fieldsync.Client("http://server", store=path)

        assert refused.value.path == str(path)


def test_killed_process_lets_go_of_its_store(tmp_path: Path) -> None:
    """Nobody has to delete a lock file after a crash."""
    path = tmp_path / "phone.db"
    with other_process(path) as other:
        os.kill(other.pid, signal.SIGKILL)
        other.wait(WAIT_S)

        with fieldsync.Client("http://server", store=path) as client:
            assert client.collection("notes").count() == 1


FORK = """
import os, sys, fieldsync
client = fieldsync.Client("http://server", store=sys.argv[1])
if os.fork() == 0:
    print("held", flush=True)
    sys.stdin.read()
    os._exit(0)
sys.stdin.read()
"""


def test_forked_child_does_not_keep_the_store_of_its_dead_parent(tmp_path: Path) -> None:
    """Workers outlive the program that made them; the store is none of theirs."""
    path = tmp_path / "phone.db"
    with other_process(path, FORK) as other:
        os.kill(other.pid, signal.SIGKILL)
        other.wait(WAIT_S)

        fieldsync.Client("http://server", store=path).close()


def test_second_client_in_one_process_is_refused(phone: Any) -> None:
    """Also by another name of the same file."""
    other = phone.path.with_name("link.db")
    other.symlink_to(phone.path)

    for path in (phone.path, other):
        with pytest.raises(fieldsync.StoreInUse, match=f"process {os.getpid()}"):
            fieldsync.Client("http://server", store=path)

    phone.restart()


def test_copy_of_a_store_is_free(phone: Any, tmp_path: Path) -> None:
    """A backup has nobody's lock, even if the lock file was copied too."""
    phone["notes"].create({"text": "x"}, id="n1")
    phone.client.close()
    (tmp_path / "backup").mkdir()
    for file in tmp_path.glob("phone-0.db*"):
        shutil.copy(file, tmp_path / "backup")
    phone.restart()

    with fieldsync.Client("http://server", store=tmp_path / "backup/phone-0.db") as client:
        assert client.collection("notes").count() == 1


def test_store_in_memory_works_without_a_file() -> None:
    """For a test, or a look around."""
    with fieldsync.Client("http://server", store=":memory:") as client:
        row_id = client.collection("notes").create({"text": "x"})

        assert client.collection("notes").query(text="x")[0].id == row_id


def test_closed_store_says_so(phone: Any) -> None:
    """And does not open its file again behind everybody's back."""
    notes = phone["notes"]
    phone.client.close()

    for use in (notes.all, lambda: notes.create({"text": "x"})):
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            use()


def test_reading_goes_on_while_a_page_is_written(phone: Any) -> None:
    """A first sync writes for minutes; the screen must not stand still."""
    phone["notes"].create({"text": "x"}, id="n1")
    store = phone.client._engine._store

    with store.transaction():
        store.writer.execute("UPDATE local SET data = '{}'")
        from concurrent.futures import ThreadPoolExecutor

        with ThreadPoolExecutor(1) as worker:
            row = worker.submit(phone["notes"].get, "n1").result(WAIT_S)

    assert row.data == {"text": "x"}


def test_power_cut_can_only_cost_what_the_server_says_again(phone: Any) -> None:
    """What a person did is flushed at once; a page or an answer with the next thing that is."""
    assert flushed(phone) == [None, "edit", "issue"]


def test_app_may_have_faster_edits_and_batches_are_flushed_all_the_same(new_phone: Any) -> None:
    """A batch and its key, and a new pair of tokens, must be found again whatever happens."""
    assert flushed(new_phone(flush_edits=False)) == [None]


def flushed(phone: Any) -> list[str | None]:
    """The transactions that are on the disk when they end, by what they are for."""
    store = phone.client._engine._store
    found = []
    for by in (None, *fieldsync.Cause):
        with store.transaction(by):
            level = store.writer.value("PRAGMA synchronous")
            found += [by] if level == FULL else []
    return found


def test_each_step_is_flushed_as_it_must_be(server: Any, phone: Any) -> None:
    """Edits, batches and tokens at once; what the server says need not be."""
    levels: list[tuple[str, int]] = []
    connection = phone.client._engine._store.writer._connection

    def note(statement: str) -> None:
        if statement.startswith("PRAGMA synchronous = "):
            levels.append(("begin", FULL if statement.endswith("FULL") else 1))
        elif statement.startswith("INSERT INTO "):
            levels.append((statement.split()[2], levels[-1][1]))

    phone["work_orders"].create({"title": "x"})
    phone.sync()
    connection.set_trace_callback(note)
    server._access.clear()
    phone["work_orders"].create({"title": "x"})
    phone.sync()
    connection.set_trace_callback(None)

    told = [level for level in levels if level[0] != "begin"]
    assert told[0] == ("outbox", FULL)
    assert ("batch", FULL) in told
    assert ("meta", FULL) in told  # the tokens
    assert ("replica", 1) in told
    assert ("meta", 1) in told  # the cursor, with its page


def test_app_brings_its_own_sqlite(server: FakeServer, tmp_path: Path) -> None:
    """One that encrypts: every connection to the file is opened by it, also those that read."""
    opened = []

    def connect(path: str) -> sqlite3.Connection:
        opened.append(path)
        return connect_plain(path)

    phone = Phone(server, tmp_path / "phone.db", connect=connect).login()
    phone["notes"].create({"text": "x"})
    phone.sync()
    phone["notes"].all()
    phone.client.close()

    assert opened == [str(tmp_path / "phone.db")] * 2
