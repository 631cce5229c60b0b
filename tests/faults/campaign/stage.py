"""The stage: everything real, all of it ours to kill.

    devices ──> links (one a history) ──> servers (uvicorn) ──> PostgreSQL (durable), Valkey

This process is one of the product's, too: it makes tenants, prunes, and begins new epochs.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Final

import django
import psycopg

from backend.devstack.postgres import OwnPostgres
from backend.devstack.processes import run_command
from backend.devstack.server import ROOT, Server, start_server
from backend.devstack.stack import Stack, devstack
from backend.devstack.valkey import OwnValkey
from backend.throttling.rates import UNLIMITED
from loadtests.bench.processes import list_tree, private_mib
from sync.testing.faulty_link import FaultyLink
from sync.testing.remote_failpoints import FailpointControl, failpoint_control
from tests.faults.campaign import ledger
from tests.faults.campaign.history import History

APPLICATION: Final = "tests.faults.campaign.application:application"
SERVICES: Final = ("DATABASE_URL", "REDIS_URL")
WORKERS: Final = 2
ENVIRON: Final = {
    "DJANGO_SETTINGS_MODULE": "tests.faults.campaign.settings",
    "LOG_LEVEL": "WARNING",
    "DEBUG": "false",
    "ACCESS_TOKEN_MINUTES": "1440",  # signatures have their own clock, which does not jump along
    "THROTTLE_RATES": UNLIMITED,
    "PYTHONPATH": str(ROOT),
}
OPTIONS: Final = ("--loop", "uvloop", "--http", "httptools", "--timeout-worker-healthcheck", "15")
HEALED_S_MAX: Final = 60.0
POLL_S: Final = 0.05
SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108  # phones need no disk


@dataclasses.dataclass(kw_only=True)
class Stage:
    """The parts; disasters act on them, and put them right again."""

    stack: Stack
    phones: Path
    control: FailpointControl
    server: Server = dataclasses.field(init=False)
    disk: Path | None = None  # a small one
    bug: str = ""
    calm: threading.Lock = dataclasses.field(default_factory=threading.Lock)  # no disaster now
    links: list[FaultyLink] = dataclasses.field(default_factory=list)
    armed: Server | None = None
    histories: list[History] = dataclasses.field(default_factory=list)  # of the round
    _count: int = 0

    @property
    def postgres(self) -> OwnPostgres:
        """The database server, which is ours."""
        assert isinstance(self.stack.postgres, OwnPostgres)
        return self.stack.postgres

    @property
    def valkey(self) -> OwnValkey:
        """The cache server, which is ours."""
        assert isinstance(self.stack.valkey, OwnValkey)
        return self.stack.valkey

    @property
    def clock(self) -> Path:
        """Whose text says how many seconds the servers' clocks are ahead."""
        return self.stack.folder / "clock"

    @property
    def environ(self) -> dict[str, str]:
        """The variables of a process of ours, with the bug planted if there is one."""
        own = {"CLOCK_FILE": str(self.clock), "PLANTED_BUG": self.bug}
        return {**self.stack.environ, **ENVIRON, **own}

    def connect(self) -> psycopg.Connection[tuple[object, ...]]:
        """Return a session of the tables' owner."""
        return psycopg.connect(self.postgres.owner_url, autocommit=True)

    def start_server(self, *, is_armed: bool = False) -> Server:
        """Start one more server."""
        self._count += 1
        environ = self.environ
        if is_armed:
            environ["FAILPOINT_CONTROL"] = self.control.address
        return start_server(
            environ=environ,
            log=self.stack.folder / f"server-{self._count}.log",
            workers=WORKERS,
            application=APPLICATION,
            options=OPTIONS,
        )

    def lead_to(self, server: Server) -> None:
        """Have all links lead to that server."""
        for link in self.links:
            link.redirect(server.url)

    def restart_server(self) -> None:
        """Another server takes over; the first one ends what it is at."""
        old, self.server = self.server, self.start_server()
        self.lead_to(self.server)
        old.stop()

    def stop_servers(self) -> None:
        """End them."""
        self.server.stop()
        self.disarm()

    def arm(self) -> Server:
        """Return a server whose pushes can be caught; started when it is first wanted."""
        if self.armed is None:
            self.armed = self.start_server(is_armed=True)
        return self.armed

    def disarm(self) -> None:
        """End the armed server."""
        if self.armed is not None:
            self.control.release()
            self.armed.kill()
            self.armed = None

    @contextmanager
    def frozen(self, pid: int) -> Iterator[None]:
        """Have a process and all below it stand still."""
        processes = list_tree(pid)
        for process in processes:
            process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            for process in processes:
                with suppress(OSError):
                    os.kill(process.pid, signal.SIGCONT)

    @property
    def saved(self) -> Path:
        """Where `save` puts the database's files."""
        return self.postgres.cluster.folder / "saved"

    def save(self) -> None:
        """Copy the database's files, with the database stopped."""
        close_sessions()
        self.postgres.stop()
        shutil.rmtree(self.saved, ignore_errors=True)
        subprocess.run(["cp", "--archive", self.postgres.cluster.data, self.saved], check=True)  # noqa: S603, S607
        self.postgres.restart()

    def restore(self) -> None:
        """Put the copy in the database's place, and tell devices so."""
        from django.core.management import call_command

        self.server.stop()
        for history in self.histories:
            history.forgotten = ledger.read_committed(history.tenant_id, self.postgres.owner_url)
            history.is_restored = True
        self.postgres.stop(crash=True)
        shutil.rmtree(self.postgres.cluster.data)
        self.saved.rename(self.postgres.cluster.data)
        self.postgres.restart()
        close_sessions()
        with Path(os.devnull).open("w") as nowhere:
            call_command("sync_new_epoch", all=True, yes=True, stdout=nowhere)
        close_sessions()
        self.server = self.start_server()
        self.lead_to(self.server)

    def prune(self, *, times: int) -> None:
        """Let another process prune the feed, and wait for its end."""
        log = self.stack.folder / "prune.log"
        run_command(
            name="prune",
            command=[sys.executable, "-m", "tests.faults.campaign.pruning", str(times)],
            environ={**os.environ, **self.environ},
            log=log,
            cwd=ROOT,
        )

    def plant(self, bug: str) -> None:
        """Have servers with that bug from now on; without a name, right ones."""
        if bug != self.bug:
            self.bug = bug
            self.disarm()
            self.restart_server()

    def wait_until_well(self) -> None:
        """Return when the database and the server answer again.

        Raises:
            TimeoutError: they do not.
        """
        until = time.monotonic() + HEALED_S_MAX
        while time.monotonic() < until:
            with suppress(psycopg.Error), self.connect() as session:
                session.execute("SELECT 1")
                if self.server.child.is_running():
                    close_sessions()
                    return
            threading.Event().wait(POLL_S)
        message = "the stage did not get well"
        raise TimeoutError(message)

    def figures(self) -> dict[str, int]:
        """Return what must come back to where it was: sessions, locks, MiB of a server process."""
        with self.connect() as session:
            found = session.execute(
                "SELECT count(*) FILTER (WHERE state LIKE 'idle in%'), count(*)"
                " FROM pg_stat_activity WHERE backend_type = 'client backend'"
                " AND pid <> pg_backend_pid()"
            ).fetchone()
            waiting = session.execute("SELECT count(*) FROM pg_locks WHERE NOT granted").fetchone()
        assert found is not None
        assert waiting is not None
        processes = list_tree(self.server.child.pid)
        return {
            "open transactions": int(str(found[0])),
            "sessions": int(str(found[1])),
            "waiting locks": int(str(waiting[0])),
            "largest process MiB": int(max(private_mib(process) for process in processes)),
            "connections to servers": sum(
                len(process.net_connections(kind="tcp4")) for process in processes
            ),
        }


def close_sessions() -> None:
    """Let go of this thread's session: it may lead to a server that has died since."""
    from django.db import connections

    connections.close_all()


@contextmanager
def set_stage(*, disk: Path | None = None) -> Iterator[Stage]:
    """Start everything; end it with the block. The database is on `disk`, if there is one.

    Raises:
        DevstackError: something is missing or did not start.
    """
    environ = {name: value for name, value in os.environ.items() if name not in SERVICES}
    memory = SHARED_MEMORY if SHARED_MEMORY.is_dir() else None
    with ExitStack() as cleanup:
        stack = cleanup.enter_context(devstack(durable=True, data=disk, environ=environ))
        clock = stack.folder / "clock"
        clock.write_text("0")
        os.environ.update({**stack.environ, **ENVIRON, "CLOCK_FILE": str(clock)})
        django.setup()
        from django.core.management import call_command

        cleanup.callback(close_sessions)
        call_command("migrate", verbosity=0)
        ledger.set_up(stack.postgres.owner_url)
        control = cleanup.enter_context(failpoint_control())
        phones = stack.folder / "phones"
        if memory:
            phones = memory / f"fieldsync-{stack.folder.name}"
            cleanup.callback(shutil.rmtree, phones, ignore_errors=True)
        phones.mkdir()
        stage = Stage(stack=stack, phones=phones, control=control, disk=disk)
        stage.server = stage.start_server()
        cleanup.callback(stage.stop_servers)
        yield stage
