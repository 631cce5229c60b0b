"""Small requests that want a lot: memory, time, threads. Each costs its sender, not the server."""

from __future__ import annotations

import gzip
import json
import socket
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import Final

import pytest
import zstandard

from tests.faults.rig import SITE
from tests.hostile.target import Heard, Target, problem_of
from tests.phones import PUSH, create

GROWTH_MIB_MAX: Final = 24.0  # of a server that has read some bodies of its limit
CROWD: Final = 120
REPEATS: Final = 12
PAGE_ROWS: Final = 900
MIB: Final = 1024 * 1024


def bomb(layers: int) -> bytes:
    """Return what unpacks to a thousand times as much, once for each layer."""
    body = b'{"mutations":[' + b" " * (64 * MIB) + b"]}"
    for _ in range(layers):
        body = gzip.compress(body, 9)
    return body


def of_notes(text: bytes) -> bytes:
    return (
        b'{"mutations":[{"op":"create","collection":"notes","id":"'
        + str(uuid.uuid4()).encode() + b'","data":{"text":' + text + b"}}]}"
    )  # fmt: skip


BODIES = {
    "a bomb": (bomb(1), b"gzip"),
    "a bomb in a bomb": (bomb(2), b"gzip, gzip"),
    "another bomb": (zstandard.compress(b" " * (64 * MIB)), b"zstd"),
    "depth": (of_notes(b"[" * 200_000 + b"]" * 200_000), b"identity"),
    "a number of a million digits": (of_notes(b"1" * MIB), b"identity"),
    "an exponent": (of_notes(b"1e" + b"9" * 4_000), b"identity"),
    "lone surrogates": (of_notes(b'"' + b"\\ud800" * 40_000 + b'"'), b"identity"),
    "many members": (
        b'{"mutations":[],' + b",".join(b'"%d":0' % n for n in range(200_000)) + b"}",
        b"identity",
    ),
    "many mutations": (b'{"mutations":[' + b"{}," * 300_000 + b"{}]}", b"identity"),
    "one endless string": (of_notes(b'"' + b"x" * (3 * MIB) + b'"'), b"identity"),
}


@pytest.mark.parametrize("name", BODIES)
def test_greedy_body_is_refused_and_leaves_nothing(target: Target, name: str) -> None:
    """Sent a dozen times, and a dozen more: what it takes once it does not take again."""
    body, encoding = BODIES[name]
    for _ in range(REPEATS):
        refuse(target.push(body, Content_Encoding=encoding))
    before = target.memory_mib()

    for _ in range(REPEATS):
        refuse(target.push(body, Content_Encoding=encoding))

    assert target.memory_mib() < before + GROWTH_MIB_MAX
    target.check_well()


def refuse(heard: Heard) -> None:
    assert heard.status in {400, 413, 415, 422} or heard.status == 200, heard
    if heard.status == 200:  # the row, not the body, is what is wrong
        assert json.loads(heard.body)["status"] == "rejected"
    else:
        problem_of(heard)


HEADERS = {
    "ten thousand types": {b"Accept": b", ".join(b"a/%d" % n for n in range(10_000))},
    "ten thousand tags": {b"If-None-Match": b", ".join(b'"%d"' % n for n in range(10_000))},
    "a key without end": {b"Idempotency-Key": b"k" * 30_000},
    "a language without end": {b"Accept-Language": b"en-" + b"x" * 30_000},
    "a range without end": {b"Range": b"bytes=" + b",".join(b"%d-%d" % (n, n) for n in range(3_000))},
    "a thousand headers": {b"X-%d" % n: b"v" for n in range(1_000)},
    "a head without end": {b"X-%d" % n: b"v" * 8_000 for n in range(200)},
}  # fmt: skip


@pytest.mark.parametrize("name", HEADERS)
def test_greedy_head_is_refused_or_ignored(target: Target, name: str) -> None:
    """In no time: nothing in a head is looked through more than once."""
    heard = target.send(
        b"GET", b"/api/v1/sync/pull?limit=1", {b"Authorization": target.bearer, **HEADERS[name]}
    )

    assert heard.status in {0, 200, 304, 400, 406, 414, 431}, heard
    target.check_well()


def test_pages_that_were_sent_are_gone(target: Target) -> None:
    """Page after page, as a crowd asks for: none of them waits for the garbage collector."""
    rows = [
        create("work_orders", kind="repair", site=SITE, title="page", description="x" * 900)
        for _ in range(PAGE_ROWS)
    ]
    assert target.push(json.dumps({"mutations": rows}).encode()).status == 200
    for _ in range(REPEATS):
        assert len(target.pull(b"?limit=1000").body) > PAGE_ROWS * 900
    before = target.memory_mib()

    for _ in range(10 * REPEATS):
        target.pull(b"?limit=1000")

    assert target.memory_mib() < before + GROWTH_MIB_MAX


def test_slow_bodies_hold_no_worker(target: Target) -> None:
    """A crowd that sends a byte now and then; everybody else is served meanwhile."""
    threads = target.threads()
    with ExitStack() as cleanup:
        lines = list(slow_lines(target, cleanup))
        for _ in range(3):
            for line in lines:
                line.sendall(b" ")
            assert target.push(b'{"mutations":[]}').status == 200
            assert target.threads() <= threads + 8
    target.check_well()


def slow_lines(target: Target, cleanup: ExitStack) -> Iterator[socket.socket]:
    for _ in range(CROWD):
        line = cleanup.enter_context(closing(target.connect()))
        line.sendall(
            b"POST " + PUSH.encode() + b" HTTP/1.1\r\nHost: x\r\nAuthorization: " + target.bearer
            + b"\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n{"
        )  # fmt: skip
        yield line


@pytest.mark.parametrize("region", ["method", "path", "headers", "the empty line", "body"])
def test_request_that_ends_anywhere_does_nothing(target: Target, region: str) -> None:
    """Cut at each byte of a region: nothing is applied, and nobody is in the way."""
    row_id = str(uuid.uuid4())
    body = json.dumps(
        {"mutations": [{"op": "create", "collection": "work_orders", "id": row_id, "data": {
            "kind": "repair", "site": str(uuid.uuid4()), "title": "cut"}}]}
    ).encode()  # fmt: skip
    head = (
        b"POST " + PUSH.encode() + b" HTTP/1.1\r\nHost: x\r\nAuthorization: " + target.bearer
        + b"\r\nIdempotency-Key: " + uuid.uuid4().hex.encode()
        + b"\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
    )  # fmt: skip
    whole = head + body
    bounds = {
        "method": range(1, 5),
        "path": range(5, 5 + len(PUSH), 4),
        "headers": range(5 + len(PUSH), len(head) - 4, 40),
        "the empty line": range(len(head) - 4, len(head)),
        "body": range(len(head), len(whole), 40),
    }
    for at in bounds[region]:
        with closing(target.connect()) as line:
            line.sendall(whole[:at])
            line.shutdown(socket.SHUT_WR)
            line.recv(65_536)

    assert target.field.query("SELECT 1 FROM work_order WHERE id = %s", [row_id]) == []
    target.check_well()
