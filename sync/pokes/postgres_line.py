"""Pokes on PostgreSQL: NOTIFY and LISTEN, where there is no Redis.

NOTIFY is sent after COMMIT, on a connection of its own in autocommit: inside a transaction it
would make all commits of the database wait for each other. A pooler that hands out a connection
for each transaction cannot LISTEN; then those who wait find out by asking.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, cast

import psycopg
from django.db import Error, connection
from psycopg import sql

from sync.pokes.line import PROVE_S, SILENCE_S, LineDown

if TYPE_CHECKING:
    from django.db.backends.base.base import BaseDatabaseWrapper

NOTIFY = "SELECT pg_notify(%s, message) FROM unnest(%s::text[]) AS m(message)"


class PostgresLine:
    """A connection beside those of the requests, to the same database."""

    def __init__(self, channel: str) -> None:
        self._channel = channel
        self._database: BaseDatabaseWrapper | None = None

    def publish(self, messages: Sequence[bytes]) -> None:
        """Send all in one statement, which is its own transaction."""
        try:
            self._connect().execute(NOTIFY, [self._channel, [m.decode() for m in messages]])
        except (psycopg.Error, Error) as error:
            self.close()
            raise LineDown from error

    def listen(self) -> Iterator[bytes | None]:
        """Subscribe, and yield what comes; the connection's own keepalives notice its end."""
        try:
            line = self._connect()
            line.execute(sql.SQL("LISTEN {}").format(sql.Identifier(self._channel)))
            yield None
            yield from _read(line)
        except (psycopg.Error, Error) as error:
            raise LineDown from error
        finally:
            self.close()

    def close(self) -> None:
        """Close the connection, if there is one."""
        database, self._database = self._database, None
        if database is not None:
            database.close()

    def _connect(self) -> psycopg.Connection[Any]:
        if self._database is None:
            self._database = connection.copy()
            self._database.inc_thread_sharing()  # at exit another thread sends what is left
            self._database.ensure_connection()
        return cast("psycopg.Connection[Any]", self._database.connection)


def _read(line: psycopg.Connection[Any]) -> Iterator[bytes | None]:
    heard_at = time.monotonic()
    while True:
        for notification in line.notifies(timeout=SILENCE_S):
            heard_at = time.monotonic()
            yield notification.payload.encode()
        if time.monotonic() - heard_at > PROVE_S:
            line.execute("SELECT 1")
            heard_at = time.monotonic()
        yield None
