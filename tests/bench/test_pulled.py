"""A pull counts only if every row came, once, to the last byte: what else a server may answer."""

from __future__ import annotations

import functools
import gzip
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
import zstandard

from loadtests.bench.client import Work, converse
from loadtests.bench.errors import BenchFailed
from loadtests.bench.exchange import Answer, Link, Request
from loadtests.bench.filling import total
from loadtests.bench.pulls import NDJSON, Held, Pages, Poll, Stream, Summing, last_place
from sync.wire import digest
from tests.bench.asking import answer

Change = dict[str, Any]


def row(row_id: str, version: int = 1, title: str = "Pump") -> Change:
    return {
        "op": "upsert",
        "collection": "work_orders",
        "id": row_id,
        "version": version,
        "own": False,
        "data": {"title": title},
    }


def held(*rows: Change) -> Held:
    return total(
        [Held(rows=1, checksum=digest(r["id"], r["version"], dump(r["data"]))) for r in rows]
    )


def dump(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def page(*changes: Change, cursor: str = "c", has_more: bool = False) -> bytes:
    return dump({"cursor": cursor, "has_more": has_more, "changes": changes})


def lines(*changes: Change, has_more: bool = False) -> bytes:
    return b"".join(
        dump(line) + b"\n" for line in [*changes, {"cursor": "c", "has_more": has_more}]
    )


A, B, C = (row(name) for name in "abc")
LATER = row("a", version=2)
OTHER = row("a", title="Fan")
GONE = {"op": "delete", "collection": "work_orders", "id": "a", "version": 2}
WANTED = held(A, B)
OVER = "says that there is more"


@pytest.mark.parametrize(
    ("pages",                                   "said"),
    [
        ([page(A, B)],                          None),
        ([page(A, has_more=True), page(B)],     None),
        ([page(A, has_more=True), page()],      "1 rows came instead of 2"),
        ([page(A, has_more=True), page(A)],     "1 rows came twice"),
        ([page(A, B), page(C)],                 "3 rows came instead of 2"),
        ([page(LATER, B)],                      "are not those that there are"),
        ([page(OTHER, B)],                      "are not those that there are"),
        ([page(A, C)],                          "are not those that there are"),
        ([page(GONE, B)],                       "no row: delete a"),
        ([page(A, B, has_more=True)],           OVER),
    ],
)  # fmt: skip
def test_pages_must_have_every_row_once(pages: list[bytes], said: str | None) -> None:
    """One that was left out, doubled, of another version or with other data is a failure."""
    found = Pages(held=WANTED).find_failure([answer(200, body) for body in pages])

    assert (found is None) if said is None else (found is not None and said in found)


def test_pages_are_asked_for_from_cursor_to_cursor() -> None:
    """And no further than the server says; a refusal ends it."""
    asked: list[str] = []
    replies = iter([page(A, cursor="x-1", has_more=True), page(B, cursor="x-2")])

    def ask(request: Request) -> Answer:
        asked.append(request.target)
        return answer(200, next(replies), etag='"7"')

    answers = converse(ask, Pages(held=WANTED, page_rows=1))

    assert asked == ["/api/v1/sync/pull?limit=1", "/api/v1/sync/pull?cursor=x-1&limit=1"]
    place = last_place(answers)
    assert (place.cursor, place.etag) == ("x-2", '"7"')
    refused = converse(lambda _: answer(410, b"{}"), Pages(held=WANTED))
    assert "answered 410" in (Pages(held=WANTED).find_failure(refused) or "")
    with pytest.raises(BenchFailed, match="410"):
        last_place(refused)


@pytest.mark.parametrize(
    ("status", "kind",             "body",                        "said"),
    [
        (200, NDJSON,              lines(A, B),                   None),
        (503, NDJSON,              b"busy",                       "answered 503"),
        (200, "application/json",  lines(A, B),                   "came as application/json"),
        (200, NDJSON,              lines(A),                      "1 rows came instead of 2"),
        (200, NDJSON,              lines(A, B, has_more=True),    "does not end with the cursor"),
        (200, NDJSON,              dump(A) + b"\n" + dump(B),     "does not end with the cursor"),
        (200, NDJSON,              b"",                           "does not end with the cursor"),
    ],
)  # fmt: skip
def test_a_stream_must_come_to_its_end(
    status: int, kind: str, body: bytes, said: str | None
) -> None:
    """One that was cut has less to send, and would be the quickest."""
    found = Stream(held=WANTED).find_failure([answer(status, body, content_type=kind)])

    assert (found is None) if said is None else (found is not None and said in found)


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [("gzip", gzip.compress(lines(A, B))), ("zstd", zstandard.compress(lines(A, B)))],
)
def test_a_packed_stream_is_unpacked_and_must_be_packed(encoding: str, packed: bytes) -> None:
    """As it was asked for: sending it as it is costs the server nothing."""
    work = Stream(held=WANTED, encoding=encoding)
    named = functools.partial(answer, 200, content_type=NDJSON)

    assert work.find_failure([named(packed, content_encoding=encoding)]) is None
    plain = work.find_failure([named(lines(A, B))])
    assert plain is not None
    assert f"instead of {NDJSON}, {encoding}" in plain
    with pytest.raises(BenchFailed, match="cannot be unpacked"):
        work.find_failure([named(packed[:-4], content_encoding=encoding)])


@pytest.mark.parametrize(
    ("work",                                "status", "body",   "said"),
    [
        (Poll(cursor="c", etag='"7"'),      304, b"",           None),
        (Poll(cursor="c", etag='"7"'),      200, page(),        "a poll was answered 200"),
        (Summing(held={"w": WANTED}),       404, b"{}",         "a digest was answered 404"),
    ],
)  # fmt: skip
def test_an_answer_of_another_kind_is_a_failure(
    work: Work, status: int, body: bytes, said: str | None
) -> None:
    """A page that is sent again is no 304."""
    found = work.find_failure([answer(status, body)])

    assert (found is None) if said is None else (found is not None and said in found)


@pytest.mark.parametrize(
    ("count", "checksum",                    "is_right"),
    [
        (2,   WANTED.checksum,               True),
        (1,   WANTED.checksum,               False),
        (2,   WANTED.checksum ^ 1,           False),
    ],
)  # fmt: skip
def test_sums_must_be_those_of_the_tables(count: int, checksum: int, is_right: bool) -> None:
    """Of every collection; one that is empty may be told or not."""
    sums = {"count": count, "checksum": f"{checksum & (1 << 64) - 1:016x}", "buckets": {}}
    empty = {"count": 0, "checksum": "0" * 16, "buckets": {}}
    work = Summing(held={"work_orders": WANTED})

    found = work.find_failure(
        [answer(200, dump({"collections": {"work_orders": sums, "notes": empty}}))]
    )

    assert (found is None) is is_right
    assert work.find_failure([answer(200, dump({"collections": {}}))]) is not None


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening


def exchange(server: socket.socket, *parts: bytes) -> Answer:
    """Return what a client makes of these bytes, sent one after the other."""

    def serve() -> None:
        client, _ = server.accept()
        with client:
            client.recv(10_000)
            for part in parts:
                client.sendall(part)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        with closing(Link(server.getsockname()[1])) as link:
            return link.exchange(Request(method="GET", target="/").render({}))
    finally:
        thread.join()


HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n"


@pytest.mark.parametrize(
    "parts",
    [
        [HEAD + b"Content-Length: 5\r\n\r\nhello"],
        [HEAD, b"Content-Length: 5\r\n\r\nhe", b"llo"],
        [HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"],
        [
            HEAD,
            b"Transfer-Encoding: chunked\r\n\r\n2",
            b"\r\nhe\r",
            b"\n3\r\nllo\r\n0\r",
            b"\n\r\n",
        ],
    ],
)
def test_an_answer_is_received_to_its_end(server: socket.socket, parts: list[bytes]) -> None:
    """However it is cut into chunks and packets."""
    found = exchange(server, *parts)

    assert (found.status, found.headers["content-type"], found.body) == (
        200,
        "text/plain",
        b"hello",
    )


def test_a_304_has_no_body_to_wait_for(server: socket.socket) -> None:
    """It says no length either."""
    found = exchange(server, b"HTTP/1.1 304 Not Modified\r\nETag: W/1\r\n\r\n")

    assert (found.status, found.headers["etag"], found.body) == (304, "W/1", b"")


@pytest.mark.parametrize(
    ("answered", "said"),
    [
        (HEAD + b"Content-Length: 5\r\n\r\nhel", "hung up"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "hung up"),
        (HEAD + b"\r\nhello", "without an end"),
    ],
)
def test_an_answer_that_is_cut_fails(server: socket.socket, answered: bytes, said: str) -> None:
    """Less is quicker."""
    with pytest.raises(BenchFailed, match=said):
        exchange(server, answered)
