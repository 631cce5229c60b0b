"""A real server with odd pages, in a process of its own."""

from __future__ import annotations

import asyncio
import os
import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import psycopg
import pytest
from django.db import connection

from backend.devstack.server import Server, start_server
from sync import threads
from tests.owner import direct_url
from tests.serving.front import Front, make_front

POLLS_MAX = 3_000
POLL_S = 0.01
THREADS_END_S = 10.0
ANSWER_S_MAX = 60.0
THREADS, QUEUE = 2, 2
ODD = "/api/odd/"
HTTPS = {"X-Forwarded-Proto": "https"}  # as the proxy says, which ends it


@dataclass(frozen=True, kw_only=True)
class Odd:
    """The running server, and what one can ask of it and its surroundings."""

    server: Server
    folder: Path
    database: psycopg.Connection[Any]

    def client(self) -> httpx2.Client:
        """Return a client that speaks through a proxy."""
        return httpx2.Client(base_url=self.server.url, timeout=ANSWER_S_MAX, headers=HTTPS)

    def get(self, page: str) -> httpx2.Response:
        """Return what one of the odd pages answers."""
        with self.client() as client:
            return client.get(ODD + page)

    def wait_for(self, event: str) -> None:
        """Return when the server has noted `event`."""
        wait_until((self.folder / event).exists)

    def tell(self, event: str) -> None:
        """Let the server see `event`."""
        (self.folder / event).touch()

    @contextmanager
    def threads_taken(self, number: int) -> Iterator[None]:
        """Let requests of `wait/<number>` stand within the block."""
        self.database.execute("SELECT pg_advisory_lock(%s)", [number])
        try:
            yield
        finally:
            self.database.execute("SELECT pg_advisory_unlock(%s)", [number])

    def wait_until_standing(self, count: int, number: int) -> None:
        """Return when `count` requests stand."""

        def stand() -> bool:
            found = self.database.execute(
                "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = %s "
                "AND NOT granted AND database = (SELECT oid FROM pg_database "
                "WHERE datname = current_database())",
                [number],
            ).fetchone()
            return bool(found and found[0] == count)

        wait_until(stand)


def wait_until(is_so: Callable[[], bool]) -> None:
    """Return when `is_so`; for what another process does in its own time."""
    for _ in range(POLLS_MAX):
        if is_so():
            return
        threading.Event().wait(POLL_S)
    raise AssertionError("it never came to that")


def connect(odd: Odd) -> socket.socket:
    """Return a bare connection."""
    return socket.create_connection(("127.0.0.1", odd.server.port), timeout=ANSWER_S_MAX)


def exchange(odd: Odd, request: str) -> bytes:
    """Send a request; return all that comes until the server hangs up."""
    with connect(odd) as link:
        link.sendall(request.replace("\n", "\r\n").encode())
        return b"".join(iter(lambda: link.recv(65_536), b""))


def begin(odd: Odd, path: str) -> socket.socket:
    """Send a request; return its connection when the answer has begun."""
    link = connect(odd)
    link.sendall(
        f"GET /api/odd/{path} HTTP/1.1\r\nHost: localhost\r\n"
        "X-Forwarded-Proto: https\r\n\r\n".encode()
    )
    return link


def read_until(link: socket.socket, text: bytes) -> bytes:
    """Return what comes, up to a chunk with `text`."""
    found = b""
    while text not in found:
        chunk = link.recv(65_536)
        assert chunk, found
        found += chunk
    return found


def fill_queue(odd: Odd) -> list[socket.socket]:
    """Take every place in the queue, while all threads are taken; return the connections."""
    links = [begin(odd, "mirror") for _ in range(QUEUE + 1)]
    (refused,), _, _ = select.select(links, [], [], ANSWER_S_MAX)  # one too many: which, is open
    with refused:
        assert refused.recv(65_536).split()[1] == b"503"
    return [link for link in links if link is not refused]


@contextmanager
def running_odd(folder: Path) -> Iterator[Odd]:
    """Start the server; it ends with the block."""
    folder.mkdir(exist_ok=True)
    url = urlsplit(os.environ["DATABASE_URL"])._replace(path=connection.settings_dict["NAME"])
    server = start_server(
        environ={
            "DATABASE_URL": url.geturl(),
            "DJANGO_SETTINGS_MODULE": "backend.settings.test",
            "ODD_FOLDER": str(folder),
            "WORKER_THREADS": str(THREADS),
            "QUEUE_MAX": str(QUEUE),
            "SECURE_SSL_REDIRECT": "true",
        },
        log=folder / "server.log",
        application="tests.serving.odd_server:application",
    )
    try:
        with psycopg.connect(direct_url(), autocommit=True) as database:
            yield Odd(server=server, folder=folder, database=database)
    finally:
        server.stop()


@pytest.fixture(scope="module")
def whole_odd(django_db_setup: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Odd]:
    with running_odd(tmp_path_factory.mktemp("odd")) as odd:
        yield odd


@pytest.fixture
def odd(whole_odd: Odd) -> Iterator[Odd]:
    """Return the server, with nothing noted."""
    yield whole_odd
    for found in whole_odd.folder.iterdir():
        if found.name != "server.log":
            found.unlink()


@pytest.fixture
def front(transactional_db: None) -> Iterator[Front]:
    with asyncio.Runner() as runner:
        front = make_front(runner)
        threads.set_executor(front.bridge.pool)
        yield front
        threads.set_executor(None)
        runner.run(front.bridge.repeats.close())
        front.bridge.pool.close(wait_s=THREADS_END_S)
