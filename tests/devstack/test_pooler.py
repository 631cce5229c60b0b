"""PgBouncer before PostgreSQL, where it is installed: `make test-pgbouncer` runs the suite with it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack

import psycopg
import pytest

from backend.devstack.folders import make_folder
from backend.devstack.pooler import PLACES, Pooler, start_pooler
from backend.devstack.postgres import Postgres, start_postgres

pytestmark = pytest.mark.skipif(
    not shutil.which("pgbouncer", path=PLACES), reason="pgbouncer is not installed"
)


@pytest.fixture
def pooled() -> Iterator[tuple[Postgres, Pooler]]:
    with ExitStack() as cleanup:
        folder = make_folder()
        cleanup.callback(folder.remove)
        postgres = start_postgres(folder=folder.path, durable=False, environ={})
        cleanup.callback(postgres.stop)
        pooler = start_pooler(postgres=postgres, folder=folder.path)
        cleanup.callback(pooler.stop)
        yield postgres, pooler


def test_session_is_anothers_after_each_transaction(pooled: tuple[Postgres, Pooler]) -> None:
    """Which is the point: what stays on a session would be met by whoever comes next."""
    _, pooler = pooled
    with (
        psycopg.connect(pooler.url, prepare_threshold=None) as one,
        psycopg.connect(pooler.url, prepare_threshold=None) as other,
    ):
        first = one.execute("SELECT pg_backend_pid()").fetchone()
        one.commit()
        second = other.execute("SELECT pg_backend_pid()").fetchone()

    assert first == second


def test_role_is_the_servers_own(pooled: tuple[Postgres, Pooler]) -> None:
    """Row-level security binds whoever comes through it, too."""
    _, pooler = pooled
    with psycopg.connect(pooler.url, prepare_threshold=None) as session:
        found = session.execute("SELECT session_user, rolsuper FROM pg_roles WHERE rolname = session_user").fetchone()  # fmt: skip

    assert found == ("fieldsync", False)
