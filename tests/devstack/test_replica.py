"""A replica of our PostgreSQL: what the tests of lag and failure stand on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest

from backend.devstack.errors import FolderUnreachable
from backend.devstack.folders import make_folder
from backend.devstack.postgres import Postgres, start_postgres
from backend.devstack.replica import Replica, start_replica
from tests.devstack.test_services import ONLY_ROOT


@pytest.fixture
def replica() -> Iterator[Replica]:
    """A replica of a server that has one table and no row."""
    with ExitStack() as cleanup:
        folders = [make_folder() for _ in range(2)]
        for folder in folders:
            cleanup.callback(folder.remove)
        primary = start_postgres(folder=folders[0].path, durable=False, environ={})
        cleanup.callback(primary.stop)
        with psycopg.connect(primary.owner_url) as session:
            session.execute("CREATE TABLE kept (n int)")
        replica = start_replica(primary=primary, folder=folders[1].path)
        cleanup.callback(replica.stop)
        yield replica


def write(server: Postgres) -> None:
    with psycopg.connect(server.owner_url) as session:
        session.execute("INSERT INTO kept VALUES (1)")


def rows(server: Postgres) -> int:
    with psycopg.connect(server.owner_url) as session:
        row = session.execute("SELECT count(*) FROM kept").fetchone()
    assert row
    return int(row[0])


def test_replica_lags_when_it_is_told_to(replica: Replica) -> None:
    """And has everything again when it was let go and caught up."""
    write(replica.primary)
    replica.catch_up()
    assert rows(replica) == 1

    replica.pause()
    write(replica.primary)
    write(replica.primary)
    assert rows(replica) == 1

    replica.resume()
    replica.catch_up()
    assert rows(replica) == 3


@pytest.mark.parametrize("crash", [False, True])
def test_restarted_replica_streams_again(replica: Replica, crash: bool) -> None:
    """At the same address; so it does when the primary was restarted."""
    url = replica.url

    replica.stop(crash=crash)
    write(replica.primary)
    replica.restart()
    replica.primary.restart(crash=crash)
    write(replica.primary)
    replica.catch_up()

    assert replica.url == url
    assert rows(replica) == 2


def test_replica_takes_no_writes(replica: Replica) -> None:
    """Else it would be another database."""
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        write(replica)


def test_server_of_others_is_not_copied(tmp_path: Path) -> None:
    """We have neither its folder nor its superuser."""
    with pytest.raises(TypeError, match="DATABASE_URL"):
        start_replica(primary=Postgres(url="postgresql://elsewhere/x"), folder=tmp_path)


@ONLY_ROOT
def test_replica_below_a_closed_folder_is_refused(replica: Replica, tmp_path: Path) -> None:
    """As any server of ours: its account cannot enter."""
    tmp_path.chmod(0o700)

    with pytest.raises(FolderUnreachable):
        start_replica(primary=replica.primary, folder=tmp_path)
