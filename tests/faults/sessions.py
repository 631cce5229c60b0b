"""A second session in the test's database, for what somebody else does there meanwhile."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from tests.faults.agreement import Query
from tests.owner import direct_url, owner_options

Session = psycopg.Connection[tuple[Any, ...]]


@contextmanager
def session(*, autocommit: bool = False) -> Iterator[Session]:
    """Connect as the application does; what is not committed at the end is rolled back."""
    other = psycopg.connect(direct_url(), options=owner_options(), autocommit=autocommit)
    try:
        yield other
    finally:
        other.close()


def asking(other: Session) -> Query:
    """Return what asks through `other`."""
    return lambda sql, parameters: other.execute(sql.encode(), parameters or None).fetchall()


def deadlocks(other: Session) -> int:
    """Return how many deadlocks PostgreSQL has broken in this database."""
    row = other.execute(
        "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    ).fetchone()
    assert row
    return int(row[0])


def sessions_waiting(other: Session) -> int:
    """Return how many sessions of this database wait for a lock."""
    row = other.execute(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    ).fetchone()
    assert row
    return int(row[0])
