"""PgBouncer before a PostgreSQL of ours, as operators run it: a session for each transaction.

    pgbouncer.ini, userlist.txt -> start on 127.0.0.1, free port -> url

What is tested through it is what stands in docs/deploy.md: the same settings, and nothing kind.
As root it runs as the account that PostgreSQL runs as, since it refuses to be root too.
"""

from __future__ import annotations

import os
import shutil
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg

from backend.devstack.errors import ServiceMissing
from backend.devstack.installation import CHILD_ENVIRON
from backend.devstack.listeners import HOST, Listener
from backend.devstack.postgres import CONNECT_S_MAX, NAME, OwnPostgres
from backend.devstack.processes import Child, start_child

if TYPE_CHECKING:
    from pathlib import Path

    from backend.devstack.postgres import Postgres

READY_S_MAX = 20.0
WAYS = ("apt install pgbouncer",)
PLACES = f"{os.defpath}:/usr/sbin:/usr/local/sbin"  # Debian keeps it where only root looks
CONFIG = """\
[databases]
* = host={host} port={postgres_port}
[pgbouncer]
listen_addr = {host}
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {users}
pool_mode = transaction
default_pool_size = 20
max_client_conn = 1000
ignore_startup_parameters = options, extra_float_digits
logfile = {log}
log_connections = 0
log_disconnections = 0
"""


class Pooler:
    """A running PgBouncer."""

    def __init__(self, *, url: str, child: Child) -> None:
        self.url = url
        self._child = child

    def stop(self) -> None:
        """End it and wait for it."""
        self._child.stop(signal.SIGTERM)


def start_pooler(*, postgres: Postgres, folder: Path) -> Pooler:
    """Start PgBouncer before `postgres`, which must be ours, with its files in `folder`.

    Raises:
        ServiceMissing: it is not installed.
        StartFailed: it did not come up.
    """
    if not isinstance(postgres, OwnPostgres):
        message = "the server is not ours: DATABASE_URL names it"
        raise TypeError(message)
    found = shutil.which("pgbouncer", path=PLACES)
    if not found:
        raise ServiceMissing(service="PgBouncer", tried=[PLACES], ways=WAYS)
    place = _Place(program=found, postgres=postgres, folder=folder)
    child, port = place.make_listener().start()
    return Pooler(url=postgres.cluster.make_url(port, NAME, database=NAME), child=child)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """What is needed to start it."""

    program: str
    postgres: OwnPostgres
    folder: Path

    def make_listener(self) -> Listener:
        return Listener(launch=self._launch, answers=self._answers, ready_s_max=READY_S_MAX)

    def _launch(self, port: int) -> Child:
        cluster = self.postgres.cluster
        config, users = self.folder / "pgbouncer.ini", self.folder / "userlist.txt"
        log = self.folder / "pgbouncer.log"
        users.write_text(f'"{NAME}" "{cluster.password}"\n')
        text = CONFIG.format(
            host=HOST, port=port, postgres_port=self.postgres.port, users=users, log=log
        )
        config.write_text(text)
        log.touch()
        for path in (config, users, log):
            path.chmod(0o600)
            if cluster.account:
                os.chown(path, cluster.account.uid, cluster.account.gid)
        return start_child(
            name="PgBouncer",
            command=[self.program, "--quiet", config],
            environ=CHILD_ENVIRON,
            log=self.folder / "pgbouncer.out",
            cwd=self.folder,
            account=cluster.account,
        )

    def _answers(self, port: int) -> bool:
        url = self.postgres.cluster.make_url(port, NAME, database=NAME)
        try:
            with psycopg.connect(url, connect_timeout=CONNECT_S_MAX) as connection:
                connection.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True
