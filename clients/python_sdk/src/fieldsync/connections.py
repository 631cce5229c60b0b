"""Connections: how a store reaches its file: one connection that writes, and some that read.

    writer    one, with a lock: whoever is in a transaction, or at a statement, is alone on it
    readers   as many as read at a time, lent and given back; each sees the last commit, and waits
              for no writer (WAL)

An app with a SQLite of its own, such as one that encrypts, gives `connect`.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    Connect = Callable[[str], sqlite3.Connection]

BUSY_TIMEOUT_S = 10.0  # somebody copies the file, or looks into it
MEMORY = ":memory:"


def connect_plain(path: str) -> sqlite3.Connection:
    """A connection of the standard library."""
    return sqlite3.connect(path, check_same_thread=False, timeout=BUSY_TIMEOUT_S)


def create_file(path: str) -> None:
    """See that the file is there. It holds tokens and customer data: for its owner only."""
    if path != MEMORY:
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))


def _open(connect: Connect, path: str, *pragmas: str) -> sqlite3.Connection:
    connection = connect(path)
    try:
        connection.isolation_level = None
        for pragma in pragmas:
            connection.execute(f"PRAGMA {pragma}")
    except BaseException:
        connection.close()
        raise
    return connection


class Writer:
    """The connection that changes the file; transactions are begun by hand. Shared by threads.

    SQLite crashes the process when a connection is closed in the middle of a statement, and a
    statement outside of a transaction sees what another thread has not committed: so nothing is
    done on it but under `lock`, and rows are all read before that is let go of.
    """

    def __init__(self, connect: Connect, path: str) -> None:
        self._connection = _open(connect, path, "journal_mode = WAL", "foreign_keys = ON")
        self.lock: threading.RLock = threading.RLock()

    def execute(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """Do one statement; its rows."""
        with self.lock:
            return self._connection.execute(sql, values).fetchall()

    def first(self, sql: str, values: Sequence[Any] = ()) -> tuple[Any, ...] | None:
        """The first row, if there is one."""
        rows = self.execute(sql, values)
        return rows[0] if rows else None

    def value(self, sql: str, values: Sequence[Any] = ()) -> Any:
        """What stands in the first row, of a statement that always has one."""
        return self.execute(sql, values)[0][0]

    def insert(self, sql: str, values: Sequence[Any] = ()) -> int:
        """Add one row; its number."""
        with self.lock:
            return self._connection.execute(sql, values).lastrowid or 0

    def executemany(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        """Do a statement for each of `rows`."""
        with self.lock:
            self._connection.executemany(sql, rows)

    def roll_back(self) -> None:
        """Undo the transaction under way, unless SQLite has done so."""
        with self.lock:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")

    @contextmanager
    def lend(self) -> Iterator[sqlite3.Connection]:
        """The connection itself, for one reader."""
        with self.lock:
            yield self._connection

    def close(self) -> None:
        """Wait for whoever is at it, and close it."""
        with self.lock:
            self._connection.close()


class Readers:
    """Connections that only read. Safe to share between threads."""

    def __init__(self, connect: Connect, path: str) -> None:
        self._connect = connect
        self._path = path
        self._idle: list[sqlite3.Connection] = []
        self._is_closed = False
        self._lock = threading.Lock()

    @contextmanager
    def lend(self) -> Iterator[sqlite3.Connection]:
        """A connection for one reader. Raises: sqlite3.ProgrammingError when closed."""
        with self._lock:
            if self._is_closed:
                raise sqlite3.ProgrammingError("the store is closed")
            connection = self._idle.pop() if self._idle else None
        connection = connection or _open(self._connect, self._path, "query_only = ON")
        try:
            yield connection
        finally:
            self._take_back(connection)

    def _take_back(self, connection: sqlite3.Connection) -> None:
        with self._lock:
            if not self._is_closed:
                self._idle.append(connection)
                return
        connection.close()

    def close(self) -> None:
        """Close what is idle now, and the rest when it comes back."""
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()
