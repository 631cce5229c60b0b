"""A streaming replica of a PostgreSQL of ours, that can be made to lag and to go away.

base backup of the primary, with the way back to it -> start -> it streams
pause, resume    what is written meanwhile arrives, and is not replayed
catch_up         wait until it has all that the primary has now
"""

from __future__ import annotations

import dataclasses
import signal
import time
from typing import TYPE_CHECKING, Any

import psycopg

from backend.devstack.errors import FolderUnreachable, StartFailed
from backend.devstack.folders import is_open_to_everyone
from backend.devstack.installation import CHILD_ENVIRON
from backend.devstack.listeners import HOST
from backend.devstack.postgres import CONNECT_S_MAX, SUPERUSER, Cluster, OwnPostgres
from backend.devstack.processes import start_child

if TYPE_CHECKING:
    from pathlib import Path

    from backend.devstack.postgres import Postgres
    from backend.devstack.processes import Child

WAIT_S_MAX = 60.0  # until it streams, or has replayed what there is: far less, unless all is busy
POLL_S = 0.01
NAME = "the replica of PostgreSQL"


class Replica(OwnPostgres):
    """A running replica; `stop` and `restart` are those of any server of ours."""

    def __init__(self, *, primary: OwnPostgres, cluster: Cluster, child: Child, port: int) -> None:
        super().__init__(cluster=cluster, child=child, port=port)
        self.primary = primary

    def pause(self) -> None:
        """Replay nothing from now on."""
        self._ask("SELECT pg_wal_replay_pause()")
        self._wait("SELECT pg_get_wal_replay_pause_state() = 'paused'")

    def resume(self) -> None:
        """Replay again."""
        self._ask("SELECT pg_wal_replay_resume()")

    def catch_up(self) -> None:
        """Wait until all has been replayed that is committed on the primary now."""
        with psycopg.connect(self.primary.admin_url or "") as connection:
            (position,) = _only(connection.execute("SELECT pg_current_wal_flush_lsn()::text"))
        self._wait("SELECT pg_last_wal_replay_lsn() >= %s::pg_lsn", position)

    def cut_off(self) -> None:
        """Get nothing from the primary any more, as when the link between the two is down."""
        with psycopg.connect(self.admin_url or "", autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET primary_conninfo = ''")
            connection.execute("SELECT pg_reload_conf()")
        self._wait("SELECT count(*) = 0 FROM pg_stat_wal_receiver")

    def promote(self) -> None:
        """Become a primary, with what was replayed so far."""
        self._ask("SELECT pg_promote()")
        self._wait("SELECT NOT pg_is_in_recovery()")

    def wait_until_it_streams(self) -> None:
        """Wait until it gets what the primary writes as it is written."""
        self._wait("SELECT count(*) > 0 FROM pg_stat_wal_receiver WHERE status = 'streaming'")

    def _ask(self, query: str, *parameters: str) -> Any:
        with psycopg.connect(
            self.admin_url or "", autocommit=True, connect_timeout=CONNECT_S_MAX
        ) as connection:
            return _only(connection.execute(query.encode(), parameters))[0]

    def _wait(self, query: str, *parameters: str) -> None:
        deadline = time.monotonic() + WAIT_S_MAX
        while not self._ask(query, *parameters):
            if time.monotonic() > deadline:
                reason = f"after {WAIT_S_MAX:g} s still not: {query}"
                raise StartFailed(name=NAME, reason=reason, log_tail=self.log_tail())
            time.sleep(POLL_S)


def start_replica(*, primary: Postgres, folder: Path) -> Replica:
    """Start a replica of `primary`, which must be ours, with its data in `folder`.

    Args:
        primary: a server that `start_postgres` has started.
        folder: an existing, empty folder; as root, one that everyone may enter.

    Raises:
        FolderUnreachable: we are root and `folder` is closed to others.
        StartFailed: it was not copied, did not come up, or does not stream.
    """
    if not isinstance(primary, OwnPostgres):
        message = "the server is not ours to copy: DATABASE_URL names it"
        raise TypeError(message)
    account = primary.cluster.account
    if account and not is_open_to_everyone(folder):
        raise FolderUnreachable(folder=folder, account=account.name)
    cluster = dataclasses.replace(primary.cluster, folder=folder.resolve())
    _copy(primary, cluster)
    child, port = cluster.make_listener().start()
    replica = Replica(primary=primary, cluster=cluster, child=child, port=port)
    try:
        replica.wait_until_it_streams()
    except BaseException:
        child.stop(signal.SIGQUIT)
        raise
    return replica


def _copy(primary: OwnPostgres, cluster: Cluster) -> None:
    """Take a base backup that knows itself to be a replica, and of whom."""
    place = cluster.make_unfinished()
    child = start_child(
        name="pg_basebackup",
        command=[
            *(cluster.installation.programs / "pg_basebackup", "--pgdata", place, "--no-sync"),
            *("--write-recovery-conf", "--checkpoint", "fast", "--no-password"),
            *("--host", HOST, "--port", str(primary.port), "--username", SUPERUSER),
        ],
        environ={**CHILD_ENVIRON, "PGPASSWORD": cluster.password},
        log=cluster.log,
        cwd=cluster.folder,
        account=cluster.account,
    )
    try:
        status = child.wait()
    finally:
        child.stop()
    if status:
        reason = f"pg_basebackup ended with status {status}"
        raise StartFailed(name=NAME, reason=reason, log_tail=child.log_tail())
    place.rename(cluster.data)


def _only(found: psycopg.Cursor[tuple[Any, ...]]) -> tuple[Any, ...]:
    row = found.fetchone()
    assert row is not None  # noqa: S101  # a SELECT without conditions
    return row
