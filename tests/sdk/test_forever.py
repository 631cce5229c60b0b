"""A client that syncs by itself: what wakes it, what it waits for, and how it ends."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from phone import Phone

import fieldsync
from fieldsync.machine import Event, State
from fieldsync.testing import FakeServer, Fault, answer, problem

ORDER = {"title": "Replace the seal"}
HOUR_S = 3_600.0
MANY = 10_000


class Rounds:
    """What a client told of its rounds."""

    def __init__(self) -> None:
        self.told: list[tuple[fieldsync.SyncReport, fieldsync.FieldsyncError | None]] = []
        self._one_more = threading.Condition()

    def __call__(
        self, report: fieldsync.SyncReport, error: fieldsync.FieldsyncError | None
    ) -> None:
        with self._one_more:
            self.told.append((report, error))
            self._one_more.notify_all()

    def wait_for(self, count: int) -> None:
        """Return when `count` rounds have ended."""
        self.wait_until(lambda: len(self.told) >= count)

    def wait_until(self, is_so: Callable[[], bool]) -> None:
        """Return when it is so, at the end of a round."""
        with self._one_more:
            assert self._one_more.wait_for(is_so, timeout=30)


@contextmanager
def running(phone: Phone) -> Iterator[Rounds]:
    """Let the phone sync by itself within the block."""
    rounds = Rounds()
    thread = threading.Thread(target=phone.client.run_forever, args=(rounds,))
    thread.start()
    try:
        yield rounds
    finally:
        phone.client.stop()
        thread.join(30)
        assert not thread.is_alive()


@pytest.fixture
def make(server: FakeServer, tmp_path: Path) -> Iterator[Callable[..., Phone]]:
    phones: list[Phone] = []

    def make(**options: Any) -> Phone:
        path = tmp_path / f"{len(phones)}.db"
        phones.append(Phone(server, path, **({"poll_s": HOUR_S} | options)).login())
        return phones[-1]

    yield make
    for phone in phones:
        phone.client.close()


def test_edit_is_sent_without_being_asked(server: FakeServer, make: Callable[..., Phone]) -> None:
    phone = make()
    with running(phone) as rounds:
        rounds.wait_for(1)
        row_id = phone["work_orders"].create(ORDER)
        rounds.wait_for(2)

    assert server.live("work_orders")[row_id]["title"] == ORDER["title"]


def test_edits_made_in_a_row_travel_together(
    server: FakeServer, make: Callable[..., Phone]
) -> None:
    phone = make(sleep=None)
    with running(phone) as rounds:
        rounds.wait_for(1)
        for _ in range(5):
            phone["work_orders"].create(ORDER)
        rounds.wait_for(2)

    assert len(server.pushes()) == 1
    assert len(server.live("work_orders")) == 5


def test_group_is_not_sent_before_it_is_whole(
    server: FakeServer, make: Callable[..., Phone]
) -> None:
    """And then it is, without another edit."""
    phone = make(sleep=None)
    with running(phone) as rounds:
        rounds.wait_for(1)
        with phone.client.group("visit"):
            phone["work_orders"].create(ORDER)
            rounds.wait_for(2)
            assert server.pushes() == []
            phone["work_orders"].create(ORDER)
        rounds.wait_until(lambda: len(server.live("work_orders")) == 2)


def test_polls_are_the_floor(server: FakeServer, make: Callable[..., Phone]) -> None:
    """Without any poke, what others do is seen after a while."""
    phone, other = make(poll_s=0.01), make()
    with running(phone) as rounds:
        rounds.wait_for(1)
        row_id = other["work_orders"].create(ORDER)
        other.sync()
        rounds.wait_for(len(rounds.told) + 3)

        assert phone["work_orders"].get(row_id) is not None


def test_link_that_is_lost_is_tried_again(server: FakeServer, make: Callable[..., Phone]) -> None:
    """Nobody need press a button; what was to be sent is sent."""
    policy = fieldsync.RetryPolicy(attempts_max=1, backoff_s_max=0.01)
    phone = make(retry=policy)
    row_id = phone["work_orders"].create(ORDER)
    server.faults.extend([Fault.CUT_BEFORE] * 3)
    with running(phone) as rounds:
        rounds.wait_for(4)

    assert [error is None for _, error in rounds.told[:4]] == [False, False, False, True]
    assert isinstance(rounds.told[0][1], fieldsync.Unreachable)
    assert row_id in server.live("work_orders")


def test_button_is_obeyed_without_a_link(server: FakeServer, make: Callable[..., Phone]) -> None:
    """Whoever sees that the link is back need not wait for the clock."""
    policy = fieldsync.RetryPolicy(attempts_max=1, backoff_s_max=HOUR_S)
    phone = make(retry=policy, rng=random.Random(3))
    server.faults.append(Fault.CUT_BEFORE)
    with running(phone) as rounds:
        rounds.wait_for(1)
        assert phone.client.status().state == State.OFFLINE
        phone.client.sync_soon()
        rounds.wait_for(2)

    assert rounds.told[1][1] is None


def test_login_ends_the_wait_for_one(server: FakeServer, make: Callable[..., Phone]) -> None:
    phone = make()
    phone["work_orders"].create(ORDER)
    server.refuses_refresh = True
    server._access.clear()
    with running(phone) as rounds:
        rounds.wait_for(1)
        assert phone.client.status().state == State.LOGGED_OUT
        phone.login()
        rounds.wait_for(2)

    assert isinstance(rounds.told[0][1], fieldsync.AuthRequired)
    assert len(server.live("work_orders")) == 1


def test_old_app_waits_for_a_new_one(server: FakeServer, make: Callable[..., Phone]) -> None:
    """It does not knock at a server that takes it no more; its work is kept."""
    phone = make(poll_s=0.01)
    phone["work_orders"].create(ORDER)
    server._push = lambda *given: problem(426, "upgrade_required")  # type: ignore[method-assign]
    with running(phone) as rounds:
        rounds.wait_for(1)
        assert phone.client.status().state == State.OUTDATED
    asked = len(server.pushes())

    assert len(rounds.told) == 1
    assert asked <= 1
    assert phone.client.status().pending + phone.client.status().sent == 1


def test_stop_does_not_wait_for_the_link(server: FakeServer, make: Callable[..., Phone]) -> None:
    """The waits between tries may be long."""
    policy = fieldsync.RetryPolicy(
        attempts_max=MANY, backoff_first_s=HOUR_S, backoff_s_max=HOUR_S, wait_s_max=MANY * HOUR_S
    )
    phone = make(retry=policy, sleep=None)
    phone["work_orders"].create(ORDER)
    server.faults.extend([Fault.CUT_BEFORE] * MANY)
    with running(phone):
        while not server.faults or len(server.faults) == MANY:
            threading.Event().wait(0.001)

    assert phone.client.status().sent == 1


def test_stopped_client_can_be_used_on(server: FakeServer, make: Callable[..., Phone]) -> None:
    phone = make()
    for _ in range(2):
        with running(phone) as rounds:
            rounds.wait_for(1)
    phone["work_orders"].create(ORDER)

    assert phone.sync().pushed == 1


class Pokes(httpx2.SyncByteStream):
    """A stream of events that a test writes."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self._more = threading.Condition()
        self.is_closed = False

    def say(self, piece: bytes) -> None:
        with self._more:
            self.pieces.append(piece)
            self._more.notify_all()

    def __iter__(self) -> Iterator[bytes]:
        while True:
            with self._more:
                self._more.wait_for(lambda: self.pieces or self.is_closed, timeout=30)
                if not self.pieces:
                    return
                piece = self.pieces.pop(0)
            yield piece

    def close(self) -> None:
        with self._more:
            self.is_closed = True
            self._more.notify_all()


@pytest.fixture
def pokes(server: FakeServer, monkeypatch: pytest.MonkeyPatch) -> Pokes:
    """Have the server send events."""
    pokes, handle = Pokes(), server.handle

    def handle_events(request: httpx2.Request) -> httpx2.Response:
        if request.url.path.endswith("/sync/events"):
            headers = {"Content-Type": "text/event-stream; charset=utf-8"}
            return httpx2.Response(200, headers=headers, stream=pokes)
        return handle(request)

    monkeypatch.setattr(server, "handle", handle_events)
    return pokes


def test_poke_is_followed_at_once(pokes: Pokes, make: Callable[..., Phone]) -> None:
    """However the stream is cut into pieces."""
    phone = make()
    with running(phone) as rounds:
        rounds.wait_for(1)
        for piece in (b"retry: 5", b"120\n\nevent: po", b"ke\nid: 7\nda", b'ta: {"head": 7}\n\n'):
            pokes.say(piece)
        rounds.wait_for(2)
        pokes.say(b": ping\n\n")
        pokes.say(b"event: poke\r\ndata: {}\r\n\r\n")
        rounds.wait_for(3)

    assert pokes.is_closed


def test_server_without_events_is_polled(server: FakeServer, make: Callable[..., Phone]) -> None:
    """It answers 404, once."""
    phone = make(poll_s=0.01)
    with running(phone) as rounds:
        rounds.wait_for(5)

    asked = [path for _, path, _, _ in server.seen if path == "sync/events"]
    assert len(asked) == 1


def test_portal_is_no_stream_of_events(
    server: FakeServer, make: Callable[..., Phone], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page with a 200 rings no bell and is asked again later."""
    handle = server.handle

    def portal(request: httpx2.Request) -> httpx2.Response:
        if request.url.path.endswith("/sync/events"):
            return answer(200, b"event: poke\n\n", {"content-type": "text/html"})
        return handle(request)

    monkeypatch.setattr(server, "handle", portal)
    phone = make()
    rung: list[Event] = []
    monkeypatch.setattr(phone.client._engine.bell, "ring", rung.append)
    listening = phone.client._engine.listen()
    opening = next(listening)
    waiting = listening.send(phone.client._outside.carry_out(opening))

    assert waiting.seconds > 0  # type: ignore[union-attr]
    assert rung == []


class TestAsync:
    """The twin on an event loop."""

    def client(self, server: FakeServer, path: Path, **options: Any) -> fieldsync.AsyncClient:
        http = server.async_client()
        return fieldsync.AsyncClient("http://server", store=path, http=http, **options)

    def test_it_syncs(self, server: FakeServer, tmp_path: Path) -> None:
        async def story() -> None:
            async with self.client(server, tmp_path / "a.db") as client:
                await client.login("tess", "fieldsync")
                row_id = client.collection("work_orders").create(ORDER)
                report = await client.sync()
                assert report.outcomes == {"created": 1}
                assert row_id in server.live("work_orders")

        asyncio.run(story())

    def test_it_waits_out_a_failure(self, server: FakeServer, tmp_path: Path) -> None:
        async def story() -> list[float]:
            waits: list[float] = []

            async def sleep(seconds: float) -> None:
                waits.append(seconds)

            async with self.client(server, tmp_path / "a.db", sleep=sleep) as client:
                await client.login("tess", "fieldsync")
                client.collection("work_orders").create(ORDER)
                server.faults.append(Fault.LOST_ANSWER)
                report = await client.sync()
                assert report.replays == 1
            return waits

        assert len(asyncio.run(story())) == 1

    def test_it_runs_forever_until_it_is_stopped(self, server: FakeServer, tmp_path: Path) -> None:
        async def story() -> None:
            rounds = asyncio.Queue[fieldsync.SyncReport]()
            loop = asyncio.get_running_loop()

            def told(report: fieldsync.SyncReport, error: object) -> None:
                loop.call_soon_threadsafe(rounds.put_nowait, report)

            async with self.client(server, tmp_path / "a.db", poll_s=HOUR_S) as client:
                await client.login("tess", "fieldsync")
                running = asyncio.ensure_future(client.run_forever(told))
                await rounds.get()
                row_id = client.collection("work_orders").create(ORDER)
                assert (await rounds.get()).pushed == 1
                assert row_id in server.live("work_orders")
                client.stop()
                await running

        asyncio.run(story())

    def test_cancelled_sync_leaves_the_store_whole(
        self, server: FakeServer, tmp_path: Path
    ) -> None:
        """The next one goes on with the same batch."""

        async def story() -> None:
            async with self.client(server, tmp_path / "a.db") as client:
                await client.login("tess", "fieldsync")
                client.collection("work_orders").create(ORDER)
                for _ in range(20):
                    syncing = asyncio.ensure_future(client.sync())
                    await asyncio.sleep(0)
                    syncing.cancel()
                    await asyncio.wait([syncing])
                await client.sync()
                assert client.status().pending == client.status().sent == 0

        asyncio.run(story())
        assert len(server.live("work_orders")) == 1
        assert len({key for key, _ in server.pushes()}) == 1
