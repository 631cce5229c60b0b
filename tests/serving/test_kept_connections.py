"""The database backend: when a kept connection is asked whether it is in order."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
from django.db import DEFAULT_DB_ALIAS, connection, connections

from backend.postgres.base import TRUSTED_S, DatabaseWrapper
from sync.row_security import nobody

MARK = "SELECT 'the request before'"
WAIT_S = 30.0

pytestmark = pytest.mark.own_session


@pytest.fixture
def outside(transactional_db: None) -> Iterator[psycopg.Connection[Any]]:
    """Return another session in the same database."""
    database = urlsplit(os.environ["DATABASE_URL"])._replace(path=connection.settings_dict["NAME"])
    with psycopg.connect(database.geturl(), autocommit=True) as session:
        yield session


@pytest.fixture
def kept(transactional_db: None) -> Iterator[DatabaseWrapper]:
    """Return a thread's connection after a request, as another one begins."""
    wrapper: Any = connections[DEFAULT_DB_ALIAS]
    wrapper.close()  # the next one is checked, as the settings say; the suite's own is not
    with nobody():  # as a request begins
        request(wrapper, MARK)
        yield wrapper
    wrapper.close()


def request(wrapper: DatabaseWrapper, sql: str) -> None:
    """Do what a request does with the connection, up to the beginning of the next."""
    with wrapper.cursor() as cursor:
        cursor.execute(sql)
    wrapper.close_if_unusable_or_obsolete()


def process_id(kept: DatabaseWrapper) -> int:
    """Return the id of its session."""
    return int(kept.connection.info.backend_pid)


def last_statement(outside: psycopg.Connection[Any], pid: int) -> str:
    """Return what a session was asked last."""
    found = outside.execute("SELECT query FROM pg_stat_activity WHERE pid = %s", [pid]).fetchone()
    assert found
    return str(found[0])


def test_connection_in_use_is_not_asked_each_time(
    kept: DatabaseWrapper, outside: psycopg.Connection[Any]
) -> None:
    """A question costs a round trip, and phones ask for news all day."""
    with kept.cursor():
        pass

    assert last_statement(outside, process_id(kept)) == MARK


def test_connection_that_was_idle_for_long_is_asked(
    kept: DatabaseWrapper, outside: psycopg.Connection[Any]
) -> None:
    """A host that lost its power says nothing on the line."""
    kept._used_at -= TRUSTED_S

    with kept.cursor():
        pass

    assert last_statement(outside, process_id(kept)) == "SELECT 1"


def test_connection_that_was_ended_is_replaced_before_a_request_meets_it(
    kept: DatabaseWrapper, outside: psycopg.Connection[Any]
) -> None:
    """By an operator, a restart, a failover: no phone is told to come again for that."""
    before = process_id(kept)
    outside.execute("SELECT pg_terminate_backend(%s, 10000)", [before])

    with kept.cursor() as cursor:
        cursor.execute("SELECT 2")
        assert cursor.fetchone() == (2,)

    assert process_id(kept) != before


def test_connection_with_something_to_say_is_asked_and_kept(
    kept: DatabaseWrapper, outside: psycopg.Connection[Any]
) -> None:
    """A notification makes the socket readable too; it is no reason to part."""
    before = process_id(kept)
    request(kept, "LISTEN news")
    outside.execute("NOTIFY news")
    readable, _, _ = select.select([kept.connection.pgconn.socket], [], [], WAIT_S)
    assert readable

    with kept.cursor():
        pass

    assert process_id(kept) == before
    assert last_statement(outside, before) == "SELECT 1"
