"""Everything real, and every part of it can be killed: PostgreSQL, a line to it, a server, phones.

    WireCaller ──HTTP──> uvicorn, 2 workers, armed ──> DatabaseLink ──> a PostgreSQL of our own
        `── FailpointControl <── "I stand at `logged`" ──'

The data is the demo's. Nothing here uses the test suite's own database.
"""

from __future__ import annotations

import dataclasses
import http.client
import json
import os
import sys
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import psycopg

from backend.devstack.folders import make_folder
from backend.devstack.postgres import Postgres, start_postgres
from backend.devstack.processes import run_command
from backend.devstack.server import READY_PATH, ROOT, Server, start_server
from backend.fieldwork.demo_seed import PASSWORD, seed_id
from sync.testing.database_link import DatabaseLink, database_link
from sync.testing.remote_failpoints import FailpointControl, failpoint_control
from tests.faults.agreement import disagreements, snapshot
from tests.phones import PUSH, create, delete, update

WORKERS = 2
CALLERS = 16  # as many as the workers have threads
ANSWER_S_MAX = 120.0
# On a busy machine a line must not be dropped, and a slow worker must not be taken for a dead one;
# but the parent also waits that long for one that dies in the moment it is asked.
SERVER_OPTIONS = ("--timeout-keep-alive", "60", "--timeout-worker-healthcheck", "15")
POLLS_MAX = 3_000
POLL_S = 0.02
LINK_DOWN = (OSError, http.client.HTTPException)
TENANT = "wales"
VISITED = [("created", 1), ("created", 1), ("updated", 2), ("deleted", 2)]  # of `prepare_visit`
SITE = str(seed_id(TENANT, "sites", "Cardiff", 0))
# How many sessions wait for a lock in a statement like the given one.
WAITING = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE %s
"""
FILL = """
import django
django.setup()
from django.core.management import call_command
call_command("migrate", verbosity=0)
call_command("seed_demo", verbosity=0)
"""


def wait_until(is_so: Callable[[], bool]) -> None:
    """Return when `is_so`; for what another process does in its own time."""
    for _ in range(POLLS_MAX):
        if is_so():
            return
        threading.Event().wait(POLL_S)
    raise AssertionError("it never came to that")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An HTTP answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def is_replay(self) -> bool:
        return self.headers.get("idempotency-replayed") == "true"

    @property
    def process_id(self) -> int:
        return int(self.headers["x-process-id"])

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return str(self.json["code"])

    @property
    def outcomes(self) -> list[tuple[str, int | None]]:
        return [(line["outcome"], line.get("version")) for line in self.json["results"]]


def make_line(url: str) -> http.client.HTTPConnection:
    parts = urlsplit(url)
    return http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=ANSWER_S_MAX)


@dataclass(slots=True, kw_only=True)
class WireCaller:
    """One device that is logged in; it knows HTTP and nothing else."""

    url: str
    access: str = ""
    refresh: str = ""
    line: http.client.HTTPConnection | None = None  # kept open, it stays with one worker

    def log_in(self, username: str, *, install_id: str, app_version: str = "1") -> None:
        device = {"install_id": install_id, "platform": "test", "app_version": app_version}
        body = {"username": username, "password": PASSWORD, "device": device}
        self._take_pair(self.send("POST", "/api/v1/auth/token", json.dumps(body).encode()))

    def renew(self) -> None:
        """Exchange the tokens for new ones."""
        body = json.dumps({"refresh": self.refresh}).encode()
        self._take_pair(self.send("POST", "/api/v1/auth/refresh", body))

    def process_id(self) -> int:
        """The worker that answers."""
        return self.send("GET", READY_PATH).process_id

    def push(self, body: bytes, key: str) -> Reply:
        return self.send("POST", PUSH, body, {"Idempotency-Key": f'"{key}"'})

    def push_until_served(self, body: bytes, key: str) -> Reply:
        """Repeat the same request as long as the answer is 503, as its `Retry-After` asks."""
        replies: list[Reply] = []

        def is_served() -> bool:
            replies.append(self.push(body, key))
            assert replies[-1].status != 503 or "retry-after" in replies[-1].headers
            return replies[-1].status != 503

        wait_until(is_served)
        return replies[-1]

    def send(
        self, method: str, path: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> Reply:
        """Send one request; raises one of LINK_DOWN if the connection breaks."""
        connection = self.line or make_line(self.url)
        own = {"Authorization": f"Bearer {self.access}"} if self.access else {}
        try:
            connection.request(
                method, path, body, {"Content-Type": "application/json", **own, **(headers or {})}
            )
            answer = connection.getresponse()
            found = {name.lower(): value for name, value in answer.getheaders()}
            return Reply(status=answer.status, headers=found, body=answer.read())
        finally:
            if connection is not self.line:
                connection.close()

    def _take_pair(self, reply: Reply) -> None:
        assert reply.status == 200, reply.body
        self.access, self.refresh = reply.json["access"], reply.json["refresh"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """A push that creates, nests, refers, edits and deletes."""

    body: bytes
    key: str
    edited_id: str
    changes: int


class Inspector:
    """Asks PostgreSQL directly; waits for it while it recovers from a crash."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: psycopg.Connection[tuple[Any, ...]] | None = None
        self._lock = threading.Lock()

    def __call__(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        found: list[list[tuple[Any, ...]]] = []

        def is_answered() -> bool:
            try:
                found.append(self._connect().execute(sql.encode(), parameters or None).fetchall())
            except psycopg.OperationalError:
                self.close()
            return bool(found)

        with self._lock:
            wait_until(is_answered)
        return found[0]

    def close(self) -> None:
        if self._connection:
            self._connection.close()
            self._connection = None

    def _connect(self) -> psycopg.Connection[tuple[Any, ...]]:
        if self._connection is None:
            self._connection = psycopg.connect(self._url, autocommit=True)
        return self._connection


@dataclass(frozen=True, kw_only=True)
class Rig:
    """The parts, and the questions that a test asks about them."""

    postgres: Postgres
    link: DatabaseLink
    control: FailpointControl
    server: Server
    query: Inspector
    pool: ThreadPoolExecutor

    @cached_property
    def tenant_id(self) -> UUID:
        return seed_id(TENANT)

    @cached_property
    def dora(self) -> WireCaller:
        """The dispatcher, who may delete."""
        return self.hire("dora", install_id="dora-1")

    def hire(self, username: str, *, install_id: str, url: str | None = None) -> WireCaller:
        phone = WireCaller(url=url or self.server.url)
        phone.log_in(username, install_id=install_id)
        return phone

    @contextmanager
    def line_to_another(self, process_id: int) -> Iterator[WireCaller]:
        """Dora's phone with a connection to a worker that is not `process_id`, once there is one."""
        phone = dataclasses.replace(self.dora, line=make_line(self.server.url))

        def is_another() -> bool:
            assert phone.line
            phone.line.close()
            return phone.process_id() != process_id

        try:
            wait_until(is_another)
            yield phone
        finally:
            assert phone.line
            phone.line.close()

    def at_once(self, work: Callable[[], Reply]) -> Future[Reply]:
        """Let another thread do `work` meanwhile."""
        return self.pool.submit(work)

    def prepare_visit(self) -> Visit:
        """Write the rows that a visit edits and deletes; return its push, ready to be sent."""
        old, gone, new = (str(uuid.uuid4()) for _ in range(3))
        first = [
            create("work_orders", old, kind="repair", site=SITE, title="Pump"),
            create("work_orders", gone, kind="repair", site=SITE, title="to be deleted"),
        ]
        reply = self.dora.push(push_body(first), str(uuid.uuid4()))
        assert reply.status == 200, reply.body
        tasks = [{"id": str(uuid.uuid4()), "position": n, "text": f"step {n}"} for n in range(2)]
        visit = [
            create("work_orders", new, kind="repair", site=SITE, title="Boiler", tasks=tasks),
            create("notes", str(uuid.uuid4()), work_order=new, text="rust"),
            update("work_orders", old, 1, title="Pump, again"),
            delete("work_orders", gone, 1),
        ]
        return Visit(
            body=push_body(visit), key=str(uuid.uuid4()), edited_id=old, changes=len(visit)
        )

    def wait_until_asked(self, count: str, parameters: Sequence[Any], *, at_least: int) -> None:
        """Return when the query `count` gives `at_least` that many."""
        wait_until(lambda: self.query(count, parameters)[0][0] >= at_least)

    def snapshot(self) -> dict[str, list[str]]:
        return snapshot(self.query, self.tenant_id)

    def disagreements(self) -> list[str]:
        return disagreements(self.query, self.tenant_id)

    def head(self) -> int:
        ((head,),) = self.query(
            "SELECT head FROM sync_stream WHERE tenant_id = %s", [self.tenant_id]
        )
        return int(head)


def push_body(mutations: Sequence[dict[str, Any]], policy: str = "all_or_nothing") -> bytes:
    return json.dumps({"policy": policy, "mutations": list(mutations)}).encode()


@contextmanager
def running_rig() -> Iterator[Rig]:
    """Start all parts; end them with the block, in the order in which they need each other."""
    with ExitStack() as cleanup:
        folder = make_folder()
        cleanup.callback(folder.remove)
        postgres = start_postgres(folder=folder.path, durable=False, environ={})
        cleanup.callback(postgres.stop)
        environ = {"DJANGO_SETTINGS_MODULE": "backend.settings.test", "REDIS_URL": ""}
        run_command(
            name="migrate and seed",
            command=[sys.executable, "-c", FILL],
            environ={**os.environ, **environ, "DATABASE_URL": postgres.url},
            log=folder.path / "fill.log",
            cwd=ROOT,
        )
        direct = urlsplit(postgres.url)
        link = cleanup.enter_context(database_link(str(direct.hostname), direct.port or 5432))
        control = cleanup.enter_context(failpoint_control())
        through = postgres.url.replace(f":{direct.port}/", f":{link.port}/")
        server = start_server(
            environ={**environ, "DATABASE_URL": through, "FAILPOINT_CONTROL": control.address},
            log=folder.path / "server.log",
            workers=WORKERS,
            application="tests.faults.armed_server:application",
            options=SERVER_OPTIONS,
        )
        cleanup.callback(server.kill)
        query = Inspector(postgres.owner_url)
        cleanup.callback(query.close)
        pool = cleanup.enter_context(ThreadPoolExecutor(CALLERS))
        yield Rig(
            postgres=postgres, link=link, control=control, server=server, query=query, pool=pool
        )
