"""A worker is killed in the middle of a first sync: the phone goes on from its last cursor.

Once in the middle of a page, once in the middle of a stream; a page is larger than what the
system buffers, so that the phone gets a part of it and no more.
"""

from __future__ import annotations

import dataclasses
import http.client
import json
import os
import signal
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

import pytest

from backend.fieldwork.demo_seed import seed_id
from tests.faults.agreement import disagreements
from tests.faults.rig import ANSWER_S_MAX, LINK_DOWN, Rig, WireCaller, push_body, wait_until
from tests.phones import PULL, create

TENANT = "northwind"  # the other tests of the rig look at all rows of theirs
ORDER = str(seed_id(TENANT, "work_orders", "nick", 0))
ROWS, ROWS_A_PUSH, ROWS_A_PAGE = 1_200, 200, 600
TEXT = "€" * 4_990  # 15 KB a row, 9 MB a page
BUFFER_BYTES = 32_768
BROKEN_AT = ROWS * 6 // 10  # some lines into the second page, most of it still to come
NDJSON = "application/x-ndjson"

Rows = dict[tuple[str, str], tuple[int, Any]]


@dataclasses.dataclass(slots=True, kw_only=True)
class Replica:
    """What a phone holds, and from where it goes on."""

    phone: WireCaller
    rows: Rows = dataclasses.field(default_factory=dict)
    cursor: str | None = None
    is_whole: bool = False

    def fold(self, line: dict[str, Any]) -> None:
        """Take a line of a stream: a change, or a cursor."""
        if "cursor" in line:
            self.cursor, self.is_whole = line["cursor"], not line["has_more"]
        elif line["op"] == "upsert":
            self.rows[line["collection"], line["id"]] = line["version"], line["data"]
        else:
            self.rows.pop((line["collection"], line["id"]), None)

    def take(self, page: dict[str, Any]) -> None:
        for change in page["changes"]:
            self.fold(change)
        self.fold(page)

    def path(self) -> str:
        cursor = f"&cursor={self.cursor}" if self.cursor else ""
        return f"{PULL}?limit={ROWS_A_PAGE}{cursor}"

    def pull_to_the_end(self) -> None:
        """Pull page by page; a worker that was killed is being replaced meanwhile."""

        def is_served() -> bool:
            try:
                reply = self.phone.send("GET", self.path())
            except LINK_DOWN:
                return False
            assert reply.status == 200, reply.body
            self.take(reply.json)
            return self.is_whole

        wait_until(is_served)


@pytest.fixture
def many_rows(rig: Rig) -> Iterator[Rig]:
    """Return the rig with many large rows in it, which the tests do not change."""
    nina = rig.hire("nina", install_id="nina-1")
    ((count,),) = rig.query("SELECT count(*) FROM note WHERE tenant_id = %s", [seed_id(TENANT)])
    for _ in range((ROWS - count) // ROWS_A_PUSH):
        notes = [
            create("notes", str(uuid.uuid4()), work_order=ORDER, text=TEXT)
            for _ in range(ROWS_A_PUSH)
        ]
        assert nina.push(push_body(notes), str(uuid.uuid4())).status == 200
    yield rig
    assert disagreements(rig.query, seed_id(TENANT)) == []


@contextmanager
def answer_to(replica: Replica, accept: str) -> Iterator[http.client.HTTPResponse]:
    """Ask over a connection that takes little at a time."""
    parts = urlsplit(replica.phone.url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=ANSWER_S_MAX)
    connection.sock = socket.socket()
    connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
    connection.sock.settimeout(ANSWER_S_MAX)
    connection.sock.connect((str(parts.hostname), parts.port))
    headers = {"Authorization": f"Bearer {replica.phone.access}", "Accept": accept}
    connection.request("GET", replica.path(), headers=headers)
    try:
        answer = connection.getresponse()
        assert answer.status == 200
        yield answer
    finally:
        connection.close()


def kill_who_answers(answer: http.client.HTTPResponse) -> None:
    os.kill(int(answer.headers["x-process-id"]), signal.SIGKILL)


def lines_until_cut(answer: http.client.HTTPResponse) -> Iterator[dict[str, Any]]:
    """Yield the whole lines of a stream whose worker is killed at one of them."""
    try:
        for number, raw in enumerate(answer, start=1):
            if not raw.endswith(b"\n"):
                return
            yield json.loads(raw)
            if number == BROKEN_AT:
                kill_who_answers(answer)
    except LINK_DOWN:
        return
    raise AssertionError("the stream came to its end")


def fresh(rig: Rig) -> Rows:
    """Return what a new phone gets in pages, without a break."""
    newcomer = Replica(phone=rig.hire("nina", install_id=str(uuid.uuid4())))
    newcomer.pull_to_the_end()
    return newcomer.rows


def test_worker_killed_in_the_middle_of_a_page(many_rows: Rig) -> None:
    """Half a page is no page: it is asked for again, and the first sync ends like a fresh one."""
    replica = Replica(phone=many_rows.hire("nina", install_id=str(uuid.uuid4())))
    replica.take(replica.phone.send("GET", replica.path()).json)
    before = replica.cursor

    with answer_to(replica, "application/json") as answer:
        assert answer.read(BUFFER_BYTES)
        kill_who_answers(answer)
        with pytest.raises(LINK_DOWN):
            answer.read()

    assert (replica.cursor, replica.is_whole) == (before, False)
    replica.pull_to_the_end()
    assert len(replica.rows) > ROWS
    assert replica.rows == fresh(many_rows)


@pytest.mark.parametrize("keeps_rest", [False, True], ids=["up to the cursor", "with the rest"])
def test_worker_killed_in_the_middle_of_a_stream(keeps_rest: bool, many_rows: Rig) -> None:
    """It goes on behind the last cursor line, whether or not the lines behind it were kept."""
    replica = Replica(phone=many_rows.hire("nina", install_id=str(uuid.uuid4())))
    behind: list[dict[str, Any]] = []  # what came after the last cursor line
    lines = 0

    with answer_to(replica, NDJSON) as answer:
        for line in lines_until_cut(answer):
            behind.append(line)
            lines += 1
            if "cursor" in line:
                for each in behind:
                    replica.fold(each)
                behind.clear()

    assert replica.cursor
    assert not replica.is_whole
    assert BROKEN_AT <= lines < ROWS
    assert behind
    if keeps_rest:
        for line in behind:
            replica.fold(line)
    replica.pull_to_the_end()
    assert replica.rows == fresh(many_rows)
