"""First syncs as a stream: cut anywhere, they go on from the last cursor, and lose nothing."""

from __future__ import annotations

import asyncio
import datetime as dt
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx2
import pytest
from hypothesis import given, strategies as st
from phone import Phone

import fieldsync
from fieldsync.bell import Bell
from fieldsync.drivers import AsyncOutside, Outside, drive, drive_async
from fieldsync.lines import Lines
from fieldsync.steps import Open, Read, Steps
from fieldsync.testing import Cut, FakeServer, Fault, answer, problem
from fieldsync.testing.feed import Asked
from fieldsync.transport import AsyncTransport, Request, Transport, Wording
from fieldsync.wire import Unreadable

ORDER = {"title": "Replace the seal"}
NDJSON = "application/x-ndjson"
LEG_ROWS = 2
ROWS = 5


@pytest.fixture
def small_legs(monkeypatch: pytest.MonkeyPatch) -> None:
    """A cursor line after every second change."""
    monkeypatch.setattr("fieldsync.engine.pull.PAGE_ROWS_MAX", LEG_ROWS)


@pytest.fixture
def filled(server: FakeServer, phone: Phone, small_legs: None) -> FakeServer:
    """A server with some rows."""
    for at in range(ROWS):
        phone["work_orders"].create({"title": f"Größe {at}"})
    phone.sync()
    server.requests.clear()
    return server


def pulls(server: FakeServer) -> list[tuple[bool, str | None]]:
    """Of every pull: whether it asked for a stream, and the cursor that it began at."""
    return [
        (NDJSON in request.headers["accept"], request.url.params.get("cursor"))
        for request in server.requests
        if request.url.path.endswith("sync/pull")
    ]


def body_of(server: FakeServer, phone: Phone) -> bytes:
    """The stream that a first sync of this phone's user gets."""
    response = server._pull(Asked("user-1", "d", {"limit": str(LEG_ROWS)}, {"accept": NDJSON}))
    assert response.headers["content-type"] == NDJSON
    return response.content


def test_first_sync_is_one_stream(filled: FakeServer, second: Phone) -> None:
    """However its lines are cut into pieces."""
    report = second.sync()

    assert pulls(filled) == [(True, None)]
    assert report.pulled == ROWS
    assert second.view("work_orders") == filled.live("work_orders")


def test_stream_cut_anywhere_goes_on_from_its_last_cursor(
    filled: FakeServer, tmp_path: Path, phone: Phone
) -> None:
    """What came before a cursor line is kept and not sent again; what came after it, is."""
    body = body_of(filled, phone)
    ends = [at + 1 for at, byte in enumerate(body) if byte == ord("\n")]
    for after in sorted({*range(0, len(body), 5), *ends, *(end - 1 for end in ends)}):
        new = Phone(filled, tmp_path / f"cut-{after}.db").login()
        filled.requests.clear()
        filled.faults.append(Cut(after))

        report = new.sync()

        places = [json.loads(line) for line in body[:after].split(b"\n")[:-1]]
        cursors = [place["cursor"] for place in places if "cursor" in place]
        asked = pulls(filled)
        assert asked[0] == (True, None)
        if cursors and not places[-1].get("has_more", True):
            assert len(asked) == 1, after  # all of it had come
        else:
            assert asked[1] == (True, cursors[-1] if cursors else None), after
        assert report.pulled == ROWS, after
        assert new.view("work_orders") == filled.live("work_orders"), after
        new.client.close()


def test_process_that_dies_in_a_stream_goes_on_from_the_last_cursor(
    filled: FakeServer, second: Phone, phone: Phone
) -> None:
    """The rows and the cursor behind them are one step."""
    body = body_of(filled, phone)
    after = body.index(b'"cursor"') + 200
    filled.faults.extend([Cut(after), *[Fault.CUT_BEFORE] * 6])
    with pytest.raises(fieldsync.Unreachable):
        second.sync()
    assert second.client.status().rows == LEG_ROWS

    second.restart()
    report = second.sync()

    assert report.pulled == ROWS - LEG_ROWS
    assert second.view("work_orders") == filled.live("work_orders")


def test_stream_that_ends_early_without_a_word_is_not_the_end(
    filled: FakeServer, second: Phone
) -> None:
    """A proxy that gives up closes politely."""
    filled.faults.append(Fault.TRUNCATED)

    second.pull()

    assert len(pulls(filled)) == 2
    assert second.view("work_orders") == filled.live("work_orders")


def test_stream_without_a_word_is_a_failure(
    filled: FakeServer, second: Phone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is waited out like any other, and not asked for again and again."""
    monkeypatch.setattr(filled, "_pull", lambda asked: answer(200, b"", {"content-type": NDJSON}))

    with pytest.raises(fieldsync.Unreachable):
        second.sync()

    assert len(pulls(filled)) == 6


@pytest.mark.parametrize("fault", [Fault.HTML, Fault.GATEWAY, Fault.BUSY, Fault.CUT_BEFORE])
def test_what_is_no_stream_is_tried_again_as_one(
    filled: FakeServer, second: Phone, fault: Fault
) -> None:
    """A portal's page with a 200 is a failure of the link, not of the server."""
    filled.faults.append(fault)

    report = second.sync()

    assert pulls(filled) == [(True, None), (True, None)]
    assert report.retries == 1
    assert second.view("work_orders") == filled.live("work_orders")


def test_server_that_answers_pages_is_read_page_by_page(filled: FakeServer, second: Phone) -> None:
    """Whatever was asked for."""
    filled.can_stream = False

    second.sync()

    assert len(pulls(filled)) == 3
    assert second.view("work_orders") == filled.live("work_orders")


def test_server_that_knows_no_streams_is_asked_for_pages(
    filled: FakeServer, second: Phone, monkeypatch: pytest.MonkeyPatch
) -> None:
    pull = filled._pull

    def refuse(asked: Asked) -> httpx2.Response:
        if NDJSON in asked.headers["accept"]:
            return problem(406, "not_acceptable")
        return pull(asked)

    monkeypatch.setattr(filled, "_pull", refuse)
    second.sync()

    assert [is_stream for is_stream, _ in pulls(filled)] == [True, False, False, False]
    assert second.view("work_orders") == filled.live("work_orders")


@pytest.mark.parametrize("fault", [Cut(40), Cut(0), Fault.GATEWAY, Fault.CUT_BEFORE, Fault.HTML])
def test_two_streams_that_bring_nothing_are_followed_by_pages(
    filled: FakeServer, second: Phone, fault: Fault | Cut
) -> None:
    """A proxy that waits for all of it must not end in the same time-out again and again."""
    filled.faults.extend([fault, fault])

    second.sync()

    assert [is_stream for is_stream, _ in pulls(filled)] == [True, True, False, False, False]
    assert second.view("work_orders") == filled.live("work_orders")


def test_page_with_more_behind_it_is_followed_by_a_stream(
    server: FakeServer, phone: Phone, second: Phone, small_legs: None
) -> None:
    """A device that comes back after weeks has much to fetch; one that polls, little."""
    second.sync()
    for at in range(ROWS):
        phone["work_orders"].create({"title": str(at)})
    phone.sync()
    server.requests.clear()

    second.sync()

    assert [is_stream for is_stream, _ in pulls(server)] == [False, True]
    assert second.view("work_orders") == server.live("work_orders")


def test_many_cuts_do_not_spend_the_tries_of_one_request(
    filled: FakeServer, new_phone: Callable[..., Phone], phone: Phone
) -> None:
    """As long as each brings something, it goes on."""
    leg = body_of(filled, phone).index(b'"cursor"') + 200
    new = new_phone(retry=fieldsync.RetryPolicy(attempts_max=2, wait_s_max=1_000))
    filled.faults.extend([Cut(leg), Cut(leg)])

    assert new.sync().retries == 2
    assert pulls(filled)[2][0]
    assert new.view("work_orders") == filled.live("work_orders")


@pytest.mark.parametrize("is_back", [True, False])
def test_last_word_on_a_row_counts(
    server: FakeServer, phone: Phone, monkeypatch: pytest.MonkeyPatch, is_back: bool
) -> None:
    """One that leaves and comes again is here, and its edit no issue; and the other way round."""
    row_id = phone["work_orders"].create(ORDER)
    phone.sync()
    phone["work_orders"].update(row_id, {"title": "Mine"})
    name = {"collection": "work_orders", "id": row_id}
    changes = [
        {"op": "scope_exit", **name},
        {"op": "upsert", **name, "version": 2, "data": {"title": "Theirs", "note": "x"}},
    ]
    page = {
        "cursor": "1:9:",
        "has_more": False,
        "changes": changes if is_back else changes[::-1],
    }
    monkeypatch.setattr(server, "_pull", lambda asked: answer(200, json.dumps(page).encode()))

    phone.pull()

    rows = {row.id: (row.version, row.data) for row in phone["work_orders"].all()}
    assert rows == ({row_id: (2, {"title": "Mine", "note": "x"})} if is_back else {})
    assert len(phone.client.issues()) == (0 if is_back else 1)


def test_line_that_makes_no_sense_keeps_what_came_before_it(
    filled: FakeServer, second: Phone, monkeypatch: pytest.MonkeyPatch, phone: Phone
) -> None:
    """Its leg is not applied, and its cursor not kept."""
    first, rest = body_of(filled, phone).split(b'"has_more":true', 1)
    border = rest.index(b"\n") + 1
    bad = b'{"op":"upsert","collection":"sites","id":"","version":1,"data":{}}\n'
    body = first + b'"has_more":true' + rest[:border] + bad + rest[border:]
    kind = {"content-type": NDJSON}
    monkeypatch.setattr(filled, "_pull", lambda *given: answer(200, body, kind))

    with pytest.raises(fieldsync.ServerBug, match="change_unreadable"):
        second.sync()

    assert second.client.status().rows == LEG_ROWS


def test_bytes_that_are_no_text_are_a_failure_of_the_link(
    filled: FakeServer, second: Phone, phone: Phone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody has looked into a row's data before it is stored."""
    body = body_of(filled, phone).replace("ö".encode(), b"\xf6")
    pull, answers = filled._pull, [answer(200, body, {"content-type": NDJSON})]
    monkeypatch.setattr(filled, "_pull", lambda *given: answers.pop() if answers else pull(*given))

    report = second.sync()

    assert report.retries == 1
    assert second.view("work_orders") == filled.live("work_orders")


def test_async_client_reads_streams_too(filled: FakeServer, tmp_path: Path, phone: Phone) -> None:
    """Cut and all."""
    after = len(body_of(filled, phone)) // 2

    async def story() -> None:
        async def sleep(seconds: float) -> None:
            pass

        http = filled.async_client()
        async with fieldsync.AsyncClient(
            "http://server", store=tmp_path / "async.db", http=http, sleep=sleep
        ) as client:
            await client.login("tess", "fieldsync")
            filled.faults.append(Cut(after))
            report = await client.sync()
            assert (report.pulled, report.retries) == (ROWS, 1)
            rows = {row.id: row.data for row in client.collection("work_orders").all()}
            assert rows == filled.live("work_orders")

    asyncio.run(story())


class Watched(httpx2.SyncByteStream, httpx2.AsyncByteStream):
    """A stream that knows whether somebody closed it."""

    is_closed = False

    def __iter__(self) -> Any:
        yield b"one\n"
        yield b"two\n"

    async def __aiter__(self) -> Any:
        for piece in self:
            yield piece

    def close(self) -> None:
        self.is_closed = True

    async def aclose(self) -> None:
        self.is_closed = True


NOW = dt.datetime(2026, 5, 4, tzinfo=dt.UTC)
WORDING = Wording(url="http://x", timeout_s=1, user_agent="x", now=lambda: NOW)


def blocking(steps: Steps[Any], network: httpx2.MockTransport) -> Any:
    with httpx2.Client(transport=network) as http:
        return drive(steps, Outside(transport=Transport(WORDING, http), bell=Bell()))


def on_a_loop(steps: Steps[Any], network: httpx2.MockTransport) -> Any:
    async def story() -> Any:
        async with httpx2.AsyncClient(transport=network) as http:
            outside = AsyncOutside(transport=AsyncTransport(WORDING, http), bell=Bell())
            return await drive_async(steps, outside)

    return asyncio.run(story())


@pytest.mark.parametrize("driven", [blocking, on_a_loop])
def test_stream_that_is_left_is_closed(driven: Callable[..., Any]) -> None:
    """Else its connection would be lost to the pool for good."""
    streams = [Watched(), Watched()]
    waiting = list(streams)
    network = httpx2.MockTransport(lambda request: httpx2.Response(200, stream=waiting.pop(0)))
    request = Request(method="GET", path="sync/pull")

    def steps() -> Steps[list[bool]]:
        opened = yield Open(request, None)
        yield Read(opened.stream)
        yield Open(request, None)
        return [stream.is_closed for stream in streams]

    assert driven(steps(), network) == [True, False]
    assert [stream.is_closed for stream in streams] == [True, True]


# lines


@given(st.data())
def test_pages_do_not_depend_on_the_pieces(data: st.DataObject) -> None:
    """Any cut into pieces gives the same pages."""
    legs = data.draw(st.lists(st.integers(0, 3), min_size=1, max_size=4))
    lines = []
    for number, rows in enumerate(legs):
        lines += [
            f'{{"op":"upsert","collection":"c","id":"{number}-{at}","version":1,"data":{{"é":{at}}}}}'
            for at in range(rows)
        ]
        lines.append(f'{{"cursor":"{number}","has_more":true}}')
    body = "".join(f"{line}\n" for line in lines).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=6)))

    parser, pages = Lines(), []
    for start, end in zip([0, *cuts], [*cuts, len(body)], strict=True):
        pages += parser.feed(body[start:end])

    assert [(page.cursor, len(page.changes)) for page in pages] == [
        (str(number), rows) for number, rows in enumerate(legs)
    ]
    assert [change.id for page in pages for change in page.changes] == [
        f"{number}-{at}" for number, rows in enumerate(legs) for at in range(rows)
    ]


def test_line_without_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever sends it, it must not fill the memory."""
    monkeypatch.setattr("fieldsync.lines.LINE_BYTES_MAX", 10)
    parser = Lines()
    parser.feed(b"12345")
    with pytest.raises(Unreadable):
        parser.feed(b"678901")


# polls


def test_poll_with_nothing_new_is_a_304_that_changes_nothing(
    server: FakeServer, phone: Phone
) -> None:
    """The same question, byte for byte, as long as the answer is the same."""
    phone["work_orders"].create(ORDER)
    phone.sync()
    phone.sync()  # the first page after the stream brings the tag
    server.requests.clear()
    store = phone.client._engine._store
    before = store.writer._connection.total_changes

    for _ in range(3):
        assert phone.sync().pulled == 0

    polls = [
        (str(request.url), dict(request.headers) | {"x-client-time": ""})
        for request in server.requests
    ]
    assert polls[0][1]["if-none-match"].startswith('W/"')
    assert polls == [polls[0]] * 3
    assert store.writer._connection.total_changes == before


def test_tag_goes_with_its_cursor(
    server: FakeServer, phone: Phone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With another one, the server could say 304 to a device that lacks something."""
    monkeypatch.setattr("fieldsync.engine.pull.FAILED_STREAMS_MAX", 0)  # pages alone have tags
    row_id = phone["work_orders"].create(ORDER)
    for _ in range(3):
        phone.sync()
    tag = phone.client._engine._store.get_meta("etag")
    server.edit("work_orders", row_id, title="Theirs")
    phone.sync()
    assert phone.client._engine._store.get_meta("etag") not in {None, tag}

    server.gone_code = "cursor_expired"
    server.requests.clear()
    phone.sync()

    assert "if-none-match" in server.requests[0].headers
    assert "if-none-match" not in server.requests[1].headers


def test_304_to_a_question_without_a_tag_is_a_failure(
    server: FakeServer, phone: Phone, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broken cache must not pass for a server that has nothing."""
    monkeypatch.setattr(server, "_pull", lambda *given: httpx2.Response(304))

    with pytest.raises(fieldsync.Unreachable):
        phone.sync()


# pokes


def test_client_by_itself_hears_of_every_change(
    server: FakeServer, phone: Phone, second: Phone
) -> None:
    """By the fake's own events."""
    server.has_events = True
    listening = phone.client._engine.listen()
    bell = phone.client._engine.bell
    opened = phone.client._outside.carry_out(next(listening))
    read = listening.send(opened)
    for title in ("one", "two"):
        bell.take()
        second["work_orders"].create({"title": title})
        second.sync()
        read = listening.send(phone.client._outside.carry_out(read))
        assert bell.is_rung()
    opened.stream.close()
