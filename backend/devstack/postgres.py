"""A PostgreSQL of our own, or the one that `DATABASE_URL` names.

    find programs -> initdb -> start on 127.0.0.1, free port -> role and database -> url

- The application's role is no superuser, and does not own the tables: row-level security binds it.
  It may take on the owner's role, which may create databases too: a test run needs that.
- Every connection needs a password, made anew with each data folder: on a shared machine a
  loopback port is open to everybody.
- As root the server runs as `nobody`, since PostgreSQL refuses to run as root.
- With `durable=False` a crash of the machine loses data; a crash of the server does not.
"""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql

from backend.devstack.errors import FolderUnreachable, StartFailed
from backend.devstack.folders import is_open_to_everyone
from backend.devstack.installation import CHILD_ENVIRON, Installation, find_installation
from backend.devstack.listeners import HOST, Listener
from backend.devstack.processes import Account, Child, start_child

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SUPERUSER = "postgres"
NAME = "fieldsync"  # of the application's role and of its database
OWNER = "fieldsync_owner"  # of the database and all in it; nobody logs in as this role
AS_OWNER = f"?options=-c%20role%3D{OWNER}"  # behind a URL: takes the role on at once
READY_S_MAX = 60.0  # crash recovery of a kept data folder comes before the first answer
CONNECT_S_MAX = 5
CONNECTIONS_MAX = 200  # several test workers and servers share it
SETTINGS = {
    "listen_addresses": HOST,
    "unix_socket_directories": "",  # TCP is enough, and has no limit on the length of a path
    "max_connections": str(CONNECTIONS_MAX),
    "timezone": "UTC",
    "log_timezone": "UTC",
    "jit": "off",
}
# Not synchronous_commit: that would lose what was answered when only the server crashes.
NOT_DURABLE = {"fsync": "off", "full_page_writes": "off"}


class Postgres:
    """A database server to use; `stop()` ends it if we started it."""

    def __init__(
        self, *, url: str, owner_url: str | None = None, admin_url: str | None = None
    ) -> None:
        self.url = url
        self.owner_url = owner_url or url  # past row-level security, if it is ours
        self.admin_url = admin_url  # None when the server is not ours

    def stop(self, *, crash: bool = False) -> None:
        """End the server and wait for it, with `crash` at once; nothing if it is not ours."""

    def restart(self, *, crash: bool = False) -> None:  # noqa: ARG002  # as our own does
        """Stop and start on the same port; with `crash`, it has to recover as after a failure."""
        message = "the server is not ours to restart: DATABASE_URL names it"
        raise RuntimeError(message)


class OwnPostgres(Postgres):
    """A server process that we started."""

    def __init__(self, *, cluster: Cluster, child: Child, port: int) -> None:
        super().__init__(
            url=cluster.make_url(port, NAME, database=NAME),
            owner_url=cluster.make_url(port, NAME, database=NAME) + AS_OWNER,
            admin_url=cluster.make_url(port, SUPERUSER, database=NAME),
        )
        self.cluster = cluster
        self._child = child
        self._port = port

    @property
    def port(self) -> int:
        """Where it listens."""
        return self._port

    @property
    def pid(self) -> int:
        """The process id of the server's first process."""
        return self._child.pid

    def stop(self, *, crash: bool = False) -> None:
        """End the server and wait for it; with `crash`, without a word to those who use it."""
        self._child.stop(signal.SIGQUIT if crash else None)

    def restart(self, *, crash: bool = False) -> None:
        """Stop and start on the same port; with `crash`, it has to recover as after a failure."""
        self.stop(crash=crash)
        self._child, self._port = self.cluster.make_listener().start(self._port)

    def log_tail(self) -> str:
        """The last lines of the server's log."""
        return self._child.log_tail()


def start_postgres(
    *, folder: Path, durable: bool = True, environ: Mapping[str, str] = os.environ
) -> Postgres:
    """Start PostgreSQL with its data in `folder`, made at the first start and kept there.

    Args:
        folder: an existing folder; as root, one that everyone may enter.
        durable: whether a crash of the machine must lose nothing.
        environ: a `DATABASE_URL` in it is used as it is, and nothing is started.

    Raises:
        ServiceMissing: no PostgreSQL on this machine.
        FolderUnreachable: we are root and `folder` is closed to others.
        StartFailed: it did not come up.
    """
    if url := environ.get("DATABASE_URL"):
        return Postgres(url=url)
    account = _choose_account()
    if account and not is_open_to_everyone(folder):
        raise FolderUnreachable(folder=folder, account=account.name)
    cluster = Cluster(
        folder=folder.resolve(),
        installation=find_installation(account=account, copies=folder),
        account=account,
        durable=durable,
        password=_read_password(folder),
    )
    cluster.create()
    child, port = cluster.make_listener().start()
    try:
        cluster.prepare(port)
    except BaseException:
        child.stop()
        raise
    return OwnPostgres(cluster=cluster, child=child, port=port)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """A data folder with what is needed to start a server on it."""

    folder: Path
    installation: Installation
    account: Account | None
    durable: bool
    password: str

    @property
    def data(self) -> Path:
        """The data folder."""
        return self.folder / "pgdata"

    @property
    def log(self) -> Path:
        """What the server and its tools print."""
        return self.folder / "postgres.log"

    def make_url(self, port: int, user: str, *, database: str) -> str:
        """The address of a database for a role."""
        return f"postgresql://{user}:{self.password}@{HOST}:{port}/{database}"

    def create(self) -> None:
        """Run initdb unless it has been; one that was interrupted leaves nothing behind."""
        if self.data.exists():
            self._check_version()
            return
        unfinished = self.make_unfinished()
        password_file = unfinished.with_suffix(".password")
        password_file.write_text(self.password)
        self._give(password_file)
        try:
            self._run_initdb(unfinished, password_file)
        finally:
            password_file.unlink()
        unfinished.rename(self.data)

    def make_unfinished(self) -> Path:
        """Make the folder that is to become `data` once all is in it."""
        unfinished = self.folder / "pgdata.new"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        self._give(unfinished)
        return unfinished

    def make_listener(self) -> Listener:
        """How the server is started."""
        return Listener(launch=self._launch, answers=self._answers, ready_s_max=READY_S_MAX)

    def prepare(self, port: int) -> None:
        """Make the application's role and database unless they are there."""
        with psycopg.connect(
            self.make_url(port, SUPERUSER, database=SUPERUSER), autocommit=True
        ) as connection:
            name, password = sql.Identifier(NAME), sql.Literal(self.password)
            owner = sql.Identifier(OWNER)
            if not _exists(connection, "SELECT 1 FROM pg_roles WHERE rolname = %s"):
                for statement in (
                    sql.SQL("CREATE ROLE {} CREATEDB").format(owner),
                    # So that tests see what the server's sessions do, and may end them.
                    sql.SQL("GRANT pg_monitor, pg_signal_backend TO {}").format(owner),
                    sql.SQL("CREATE ROLE {} LOGIN NOINHERIT PASSWORD {} IN ROLE {}").format(
                        name, password, owner
                    ),
                ):
                    connection.execute(statement)
            if not _exists(connection, "SELECT 1 FROM pg_database WHERE datname = %s"):
                connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(name, owner))

    def _give(self, path: Path) -> None:
        if self.account:
            os.chown(path, self.account.uid, self.account.gid)

    def _run_initdb(self, data: Path, password_file: Path) -> None:
        child = start_child(
            name="initdb",
            command=[
                *(self.installation.programs / "initdb", "--pgdata", data, "--no-sync"),
                *("--username", SUPERUSER, "--pwfile", password_file, "--auth", "scram-sha-256"),
                *("--encoding", "UTF8", "--locale", "C"),
            ],
            environ=CHILD_ENVIRON,
            log=self.log,
            cwd=self.folder,
            account=self.account,
        )
        try:
            status = child.wait()
        finally:
            child.stop()
        if status:
            reason = f"initdb ended with status {status}"
            raise StartFailed(name="PostgreSQL", reason=reason, log_tail=child.log_tail())

    def _check_version(self) -> None:
        made_by = (self.data / "PG_VERSION").read_text().strip()
        if made_by != str(self.installation.version):
            reason = (
                f"{self.data} was made by PostgreSQL {made_by}, "
                f"and the one found here is {self.installation.version}: give another folder"
            )
            raise StartFailed(name="PostgreSQL", reason=reason, log_tail="")

    def _launch(self, port: int) -> Child:
        settings = {**SETTINGS, "port": str(port), **({} if self.durable else NOT_DURABLE)}
        options = [part for item in settings.items() for part in ("-c", "=".join(item))]
        return start_child(
            name="PostgreSQL",
            command=[self.installation.programs / "postgres", "-D", self.data, *options],
            environ=CHILD_ENVIRON,
            log=self.log,
            cwd=self.folder,
            account=self.account,
            death_signal=signal.SIGINT,  # "fast": open sessions are ended, data is written
        )

    def _answers(self, port: int) -> bool:
        url = self.make_url(port, SUPERUSER, database=SUPERUSER)
        try:
            psycopg.connect(url, connect_timeout=CONNECT_S_MAX).close()
        except psycopg.OperationalError:
            return False
        return True


def _choose_account() -> Account | None:
    """`nobody` when we are root; None when the server can run as us."""
    if os.geteuid() != 0:
        return None
    entry = pwd.getpwnam("nobody")
    return Account(name=entry.pw_name, uid=entry.pw_uid, gid=entry.pw_gid)


def _read_password(folder: Path) -> str:
    """The password kept in `folder`, made when there is none yet."""
    file = folder / "password"
    if not file.exists():
        descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as stream:
            stream.write(secrets.token_hex(16))
    return file.read_text()


def _exists(connection: psycopg.Connection[tuple[object, ...]], query: str) -> bool:
    return connection.execute(query, [NAME]).fetchone() is not None
