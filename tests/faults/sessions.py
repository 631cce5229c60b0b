"""A second session in the test's database, for what somebody else does there meanwhile."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from django.db import connection

from tests.faults.agreement import Query
from tests.owner import owner_options

Session = psycopg.Connection[tuple[Any, ...]]


@contextmanager
def session(*, autocommit: bool = False) -> Iterator[Session]:
    """Connect as the application does; what is not committed at the end is rolled back."""
    own = connection.settings_dict
    other = psycopg.connect(
        dbname=own["NAME"], user=own["USER"], password=own["PASSWORD"], host=own["HOST"],
        port=os.environ.get("POSTGRES_PORT", own["PORT"]), options=owner_options(), autocommit=autocommit,
    )  # fmt: skip
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
