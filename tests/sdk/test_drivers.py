"""Drivers: the same steps, blocking or on an event loop, to the same end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

from fieldsync.bell import Bell
from fieldsync.drivers import AsyncOutside, Outside, drive, drive_async
from fieldsync.errors import TransportFailure
from fieldsync.machine import Event
from fieldsync.steps import Rest, Send, Steps, Wait, send
from fieldsync.transport import Request

HOUR_S = 3_600.0
REQUEST = Request(method="GET", path="sync/pull")


class Echo:
    """A transport that answers with what was asked, or fails."""

    def __init__(self, failure: TransportFailure | None = None) -> None:
        self.failure = failure

    def send(self, request: Request, *, access: str | None) -> Any:
        if self.failure:
            raise self.failure
        return (request, access)


class AsyncEcho(Echo):
    async def send(self, request: Request, *, access: str | None) -> Any:
        return super().send(request, access=access)


def blocking(steps: Steps[Any], failure: TransportFailure | None, bell: Bell) -> Any:
    transport: Any = Echo(failure)
    return drive(steps, Outside(transport=transport, bell=bell))


def on_a_loop(steps: Steps[Any], failure: TransportFailure | None, bell: Bell) -> Any:
    transport: Any = AsyncEcho(failure)
    return asyncio.run(drive_async(steps, AsyncOutside(transport=transport, bell=bell)))


Drive = Callable[[Steps[Any], TransportFailure | None, Bell], Any]


@pytest.fixture(params=[blocking, on_a_loop])
def driven(request: pytest.FixtureRequest) -> Drive:
    found: Drive = request.param
    return found


@pytest.fixture
def bell() -> Bell:
    return Bell()


def test_replies_come_back_to_the_steps(driven: Drive, bell: Bell) -> None:
    def steps() -> Steps[Any]:
        first = yield from send(REQUEST)
        second = yield from send(REQUEST, "token")
        return [first, second]

    assert driven(steps(), None, bell) == [(REQUEST, None), (REQUEST, "token")]


def test_failure_of_the_link_is_raised_in_the_steps(driven: Drive, bell: Bell) -> None:
    """Where the request stands: so they can try again."""

    def steps() -> Steps[str]:
        try:
            yield Send(REQUEST)
        except TransportFailure as failure:
            return failure.reason
        return "no failure"

    assert driven(steps(), TransportFailure("cut"), bell) == "cut"


def test_failure_that_nobody_catches_is_the_callers(driven: Drive, bell: Bell) -> None:
    def steps() -> Steps[None]:
        yield Send(REQUEST)

    with pytest.raises(TransportFailure, match="cut"):
        driven(steps(), TransportFailure("cut"), bell)


def test_bell_ends_a_rest(driven: Drive, bell: Bell) -> None:
    def steps() -> Steps[float]:
        threading.Thread(target=bell.ring, args=(Event.EDITED,)).start()
        rested: float = yield Rest(HOUR_S)
        return rested

    assert 0 <= driven(steps(), None, bell) < HOUR_S
    assert bell.take() == [Event.EDITED]


def test_bell_that_has_rung_before_ends_a_rest(driven: Drive, bell: Bell) -> None:
    """What happens between two rests is not slept through."""
    bell.ring(Event.POKED)

    def steps() -> Steps[None]:
        yield Rest(HOUR_S)

    driven(steps(), None, bell)


def test_rest_ends_by_itself(driven: Drive, bell: Bell) -> None:
    def steps() -> Steps[float]:
        rested: float = yield Rest(0.001)
        return rested

    assert driven(steps(), None, bell) > 0


def test_only_a_stop_ends_a_wait(driven: Drive, bell: Bell) -> None:
    """A failed request is not tried again because somebody edits a row."""

    def ring() -> None:
        for event in (Event.EDITED, Event.POKED, Event.STOP):
            bell.ring(event)

    def steps() -> Steps[bool]:
        threading.Thread(target=ring).start()
        yield Wait(HOUR_S)
        return bell.has(Event.STOP)

    assert driven(steps(), None, bell)


def test_stop_stays_until_it_is_done(bell: Bell) -> None:
    bell.ring(Event.STOP)

    assert bell.take() == bell.take() == [Event.STOP]

    bell.forget_stop()
    assert bell.take() == []


def test_more_important_events_come_first(bell: Bell) -> None:
    for event in (Event.EDITED, Event.ASKED, Event.LOGGED_IN, Event.EDITED):
        bell.ring(event)

    assert bell.take() == [Event.LOGGED_IN, Event.ASKED, Event.EDITED]


def test_steps_are_closed_whatever_happens(driven: Drive, bell: Bell) -> None:
    """So that locks which they hold are free again."""
    closed: list[bool] = []

    def steps() -> Steps[None]:
        try:
            yield Send(REQUEST)
        finally:
            closed.append(True)

    with pytest.raises(TransportFailure):
        driven(steps(), TransportFailure("cut"), bell)
    assert closed == [True]


def test_cancelled_driver_lets_the_store_finish(bell: Bell) -> None:
    """What runs in a thread is not cut in two."""
    begun, go_on, done = threading.Event(), threading.Event(), threading.Event()

    def steps() -> Steps[None]:
        begun.set()
        go_on.wait(30)
        done.set()
        yield Rest(HOUR_S)

    async def story() -> None:
        transport: Any = AsyncEcho()
        driving = asyncio.ensure_future(
            drive_async(steps(), AsyncOutside(transport=transport, bell=bell))
        )
        await asyncio.to_thread(begun.wait, 30)
        driving.cancel()
        await asyncio.sleep(0)
        go_on.set()
        await asyncio.wait([driving])
        assert driving.cancelled()

    asyncio.run(story())
    assert done.is_set()
