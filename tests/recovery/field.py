"""Everything as it is in the field: services, several servers, a proxy, and people at work.

    Crew ──> Front ──> servers (uvicorn) ──> PostgreSQL (and a replica), Valkey

The data is the demo's; nothing here uses the test suite's own database.
"""

from __future__ import annotations

import atexit
import dataclasses
import functools
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psycopg

from backend.devstack.folders import TemporaryFolder, make_folder
from backend.devstack.postgres import OwnPostgres, Postgres, start_postgres
from backend.devstack.processes import run_command
from backend.devstack.server import ROOT, Server, start_server
from backend.devstack.valkey import Valkey, start_valkey
from backend.fieldwork.demo_seed import seed_id
from tests.faults.agreement import disagreements
from tests.recovery.crew import TERRITORY, Crew, Hand
from tests.recovery.front import Front, running_front

TENANT = "wales"
COMMAND_S_MAX = 300
PROBED = 401  # by whoever starts a server, to see whether it answers
KILLED = 128 + signal.SIGKILL
STATUS = re.compile(r" (?:GET|POST|PATCH|DELETE) \S+ (\d{3}) ")
TITLES = "SELECT id::text, title FROM work_order WHERE tenant_id = %s AND id = ANY(%s::uuid[])"
# Tests log in more often than people do.
RATES = "login=100000/1s, login_name=100000/1s"


@dataclasses.dataclass(kw_only=True)
class Field:
    """The parts."""

    postgres: Postgres
    valkey: Valkey
    folder: Path
    environ: dict[str, str]
    servers: list[Server]
    front: Front
    crew: Crew = dataclasses.field(default_factory=lambda: Crew([]))
    _started: int = 0

    def manage(self, *arguments: str) -> str:
        """Run a command of `manage.py`; return what it printed."""
        done = subprocess.run(  # noqa: S603  # our own
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT, env={**os.environ, **self.environ}, timeout=COMMAND_S_MAX,
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, (arguments, done.stdout, done.stderr)
        return done.stdout

    def run_program(self, name: str, *arguments: str) -> None:
        """Run one of PostgreSQL's programs against the database."""
        assert isinstance(self.postgres, OwnPostgres)
        program = self.postgres.cluster.installation.programs / name
        done = subprocess.run(  # noqa: S603  # our own
            [program, *arguments], timeout=COMMAND_S_MAX, capture_output=True, text=True,
            env={"LC_ALL": "C", "PATH": os.defpath}, check=False,
        )  # fmt: skip
        assert done.returncode == 0, (name, done.stderr)

    def start_server(self, port: int = 0) -> Server:
        """Start one more server, and let the proxy know."""
        self._started += 1
        log = self.folder / f"server-{self._started}.log"
        server = start_server(environ=self.environ, log=log, port=port)
        self.servers.append(server)
        if server.port not in self.front.ports:
            self.front.ports.append(server.port)
        return server

    def restart(self, server: Server) -> Server:
        """Have a server end what it is at, and start another in its place."""
        self.servers.remove(server)
        server.stop()
        assert server.child.wait() != KILLED, "it ended by itself"
        return self.start_server(server.port)

    def stop_servers(self) -> None:
        while self.servers:
            self.servers.pop().stop()

    def hire(self, count: int, *, url: str | None = None) -> None:
        """Give so many people a phone; they log in and have their first sync."""
        url = url or self.front.url
        names = list(TERRITORY)
        self.crew = Crew([
            Hand(names[n % len(names)], url, self.folder / f"phone-{n}.db", n)
            for n in range(count)
        ])  # fmt: skip
        for hand in self.crew.hands:
            hand.log_in()
            hand.sync()

    def close_phones(self) -> None:
        for hand in self.crew.hands:
            hand.client.close()

    def query(self, sql: str, parameters: Any = ()) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.postgres.owner_url) as session:
            return session.execute(sql.encode(), parameters or None).fetchall()

    def statuses(self) -> set[int]:
        """Return the statuses of all answers of all servers."""
        logs = self.folder.glob("server-*.log")
        return {int(found) for log in logs for found in STATUS.findall(log.read_text())}

    def prove(self) -> None:
        """Nothing lost, nothing doubled, replicas equal, the feed right, no fault of ours."""
        ledger = self.crew.ledger
        found = dict(self.query(TITLES, [seed_id(TENANT), list(ledger)]))
        wanted = {row_id: title for row_id, title in ledger.items() if title is not None}
        assert found == wanted, {k: (found.get(k), wanted.get(k)) for k in found | wanted if found.get(k) != wanted.get(k)}  # fmt: skip
        ((doubled,),) = self.query("SELECT count(*) - count(DISTINCT title) FROM work_order WHERE title ~ '^(tess|tom|sam|dora) '")  # fmt: skip
        assert doubled == 0
        for hand in self.crew.hands:
            assert hand.client.verify().verified is True
        assert disagreements(self.query, seed_id(TENANT)) == []
        assert "0 findings" in self.manage("sync_check")
        assert 500 not in self.statuses()


def copy_seeded(folder: Path) -> None:
    """Put a database with the demo's data into a folder for PostgreSQL."""
    subprocess.run(["cp", "--archive", f"{seeded().path}/.", folder], check=True)  # noqa: S603, S607


@functools.cache
def seeded() -> TemporaryFolder:
    """Make that database, once for all tests of this process."""
    folder = make_folder()
    atexit.register(folder.remove)
    postgres = start_postgres(folder=folder.path, durable=False, environ={})
    environ = {
        "DATABASE_URL": postgres.url,
        "DJANGO_SETTINGS_MODULE": "backend.settings.demo",
    }
    try:
        for name in ("migrate", "seed_demo"):
            run_command(
                name=name,
                command=[sys.executable, "manage.py", name, "--verbosity", "0"],
                environ={**os.environ, **environ},
                log=folder.path / f"{name}.log",
                cwd=ROOT,
            )
    finally:
        postgres.stop()
    return folder


@contextmanager
def running_field(*, servers: int = 1, replica: bool = False, **variables: str) -> Iterator[Field]:
    """Start everything, with the demo's data; end it with the block."""
    with ExitStack() as cleanup:
        folder = make_folder()
        cleanup.callback(folder.remove)
        copy_seeded(folder.path)
        postgres = start_postgres(folder=folder.path, durable=False, environ={})
        cleanup.callback(postgres.stop)
        valkey = start_valkey(folder=folder.path, environ={})
        cleanup.callback(valkey.stop)
        environ = {
            "DATABASE_URL": postgres.url,
            "REDIS_URL": valkey.url,
            "DJANGO_SETTINGS_MODULE": "backend.settings.demo",
            "THROTTLE_RATES": RATES,
            **variables,
        }
        front = cleanup.enter_context(running_front([]))
        field = Field(
            postgres=postgres, valkey=valkey, folder=folder.path, environ=environ,
            servers=[], front=front,
        )  # fmt: skip
        cleanup.callback(field.close_phones)
        cleanup.callback(field.stop_servers)
        for _ in range(servers):
            field.start_server()
        yield field
