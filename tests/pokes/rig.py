"""Real servers on the tests' database, and devices that wait there.

Watch   an open stream of a device: its events, one by one
Hold    a pull that waits
"""

from __future__ import annotations

import dataclasses
import http.client
import json
import os
import signal
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlencode, urlsplit

import redis
from django.db import connection

from backend.devstack.server import Server, start_server
from tests.faults.rig import wait_until
from tests.phones import PULL, PUSH, Phone, canaries

EVENTS = "/api/v1/sync/events"
COMES_S_MAX = 60.0  # on a busy machine; what never comes is no matter of seconds
WAIT_S = 60  # the longest: an answer that comes before has not waited for its end
TOO_MANY = 503
STOPPED = 128 + signal.SIGTERM  # as a program ends that was told to, and did so in order
NEVER_S = 3_600.0  # a setting that is to play no part
LINES_MAX = 1_000
LINES: dict[str, Callable[[], str]] = {
    "redis": lambda: os.environ["REDIS_URL"],
    "postgresql": lambda: "postgresql:",
}
# Nobody looks by themselves, nothing rests: what comes, comes by a poke.
ONLY_POKES: dict[str, Any] = {
    "POKE_POLL_S": NEVER_S,
    "POKE_GAP_S": 0,
    "STREAM_PING_S": NEVER_S,
    "STREAM_RECHECK_S": NEVER_S,
}


def environ_for(**sync: Any) -> dict[str, str]:
    """Return the environment of a process on the tests' database, with these `SYNC` settings."""
    database = urlsplit(os.environ["DATABASE_URL"])._replace(path=connection.settings_dict["NAME"])
    return {
        "DATABASE_URL": database.geturl(),
        "DJANGO_SETTINGS_MODULE": "tests.pokes.served",
        "SYNC_FOR_TEST": json.dumps({**ONLY_POKES, "POKE_CHANNEL": own_channel(), **sync}),
    }


def own_channel() -> str:
    """Return the channel of this database: tests beside each other share one Redis."""
    return f"pokes_of_{connection.settings_dict['NAME']}"


def wait_for_listeners(count: int) -> None:
    """Return when so many processes listen on Redis.

    What devices may see is told to those who listen; a change before that is noticed later.
    """
    with redis.Redis.from_url(os.environ["REDIS_URL"]) as client:
        wait_until(lambda: client.pubsub_numsub(own_channel())[0][1] == count)


@contextmanager
def served(folder: Path, *, options: tuple[str, ...] = (), **sync: Any) -> Iterator[Server]:
    """Run a server whose `SYNC` has these settings."""
    server = start_server(
        environ=environ_for(**sync),
        log=folder / f"{uuid.uuid4()}.log",
        options=options,
    )
    try:
        yield server
    finally:
        server.stop()


class Watch:
    """An open stream."""

    def __init__(self, server: Server, phone: Phone, **headers: str) -> None:
        self._phone = phone
        self._line = http.client.HTTPConnection("127.0.0.1", server.port, timeout=COMES_S_MAX)
        own = {"Authorization": f"Bearer {phone.token}", "Accept": "text/event-stream"}
        self._line.request("GET", EVENTS, headers={**own, **headers})
        self.answer = self._line.getresponse()

    def next_lines(self) -> list[str]:
        """Return the lines of the next block, none at the end of the stream."""
        lines: list[str] = []
        for _ in range(LINES_MAX):
            line = self.answer.readline()
            for tenant_id, canary in canaries.items():
                assert tenant_id == self._phone.tenant_id or canary.encode() not in line
            if line in {b"\n", b""}:
                return lines
            lines.append(line.decode().rstrip("\n"))
        raise AssertionError("a block without an end")

    def next_poke(self) -> int:
        """Return the head of the next poke; whatever else comes is passed over."""
        for _ in range(LINES_MAX):
            lines = self.next_lines()
            assert lines, "the stream has ended"
            if "event: poke" in lines:
                data = next(line for line in lines if line.startswith("data: "))
                return int(json.loads(data.removeprefix("data: "))["head"])
        raise AssertionError("it never came")

    def is_at_end(self) -> bool:
        """Whether nothing more comes; waits for the next block."""
        return self.next_lines() == []

    def close(self) -> None:
        self.answer.close()
        self._line.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


@dataclasses.dataclass(frozen=True)
class Reply:
    """A plain answer."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return str(self.json["code"])


def ask(
    server: Server, phone: Phone, method: str, url: str, body: Any = None, **headers: str
) -> Reply:
    """Send one request to that server."""
    line = http.client.HTTPConnection("127.0.0.1", server.port, timeout=COMES_S_MAX)
    own = {
        "Authorization": f"Bearer {phone.token}",
        "Idempotency-Key": str(uuid.uuid4()),
        "Content-Type": "application/json",
    }
    try:
        line.request(method, url, json.dumps(body) if body else None, own | headers)
        answer = line.getresponse()
        found = {name.lower(): value for name, value in answer.getheaders()}
        return Reply(answer.status, found, answer.read())
    finally:
        line.close()


def push(server: Server, phone: Phone, *mutations: dict[str, Any]) -> None:
    """Push there; all is applied."""
    reply = ask(server, phone, "POST", PUSH, {"mutations": list(mutations)})
    assert reply.status == 200, reply.body
    assert reply.json["status"] == "ok"


def pull(server: Server, phone: Phone, **query: Any) -> Reply:
    """Pull a page there, without applying it."""
    return ask(server, phone, "GET", f"{PULL}?{urlencode(query)}")


def pull_to_end(server: Server, phone: Phone) -> str:
    """Return the cursor of a device that has everything."""
    cursor = ""
    for _ in range(LINES_MAX):
        page = pull(server, phone, cursor=cursor).json
        cursor = page["cursor"]
        if not page["has_more"]:
            return str(cursor)
    raise AssertionError("the pages never end")


def hold_a_pull(
    pool: ThreadPoolExecutor, server: Server, phone: Phone, other: Phone
) -> Future[Reply]:
    """Return a pull of `phone` that is waiting, in a server in which one may wait.

    That it does is seen by `other`, for whom no place is left.
    """
    cursor, of_other = pull_to_end(server, phone), pull_to_end(server, other)

    def wait_long() -> Reply:
        replies = [pull(server, phone, cursor=cursor, wait=WAIT_S)]
        while replies[-1].status == TOO_MANY and len(replies) < LINES_MAX:
            replies.append(pull(server, phone, cursor=cursor, wait=WAIT_S))
        return replies[-1]

    held = pool.submit(wait_long)
    wait_until(lambda: pull(server, other, cursor=of_other, wait=1).status == TOO_MANY)
    return held
