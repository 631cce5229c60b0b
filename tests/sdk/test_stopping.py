"""Stopping: by a signal, in the middle of a pull, by closing the client under a thread that syncs."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, Self

import pytest
from phone import Phone

import fieldsync.bell
from fieldsync.bell import Bell
from fieldsync.machine import Event
from fieldsync.testing import FakeServer

WAIT_S = 20.0  # a bound, never reached
A_WHILE_S = 0.2  # what a thread that must wait is given to do the wrong thing
LINES_MAX = 100  # of the bell that a wait goes through
ORDER = {"title": "Replace the pump seal"}


class Interruption:
    """A signal handler that comes before the line `last` that this thread executes at the bell."""

    def __init__(self, last: int, handler: Callable[[], None]) -> None:
        self._left = last
        self._handler = handler
        self.has_come = threading.Event()

    def __enter__(self) -> Self:
        self._before = sys.gettrace()
        sys.settrace(self._trace)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)

    def _trace(self, frame: FrameType, event: str, _: Any) -> Any:
        if frame.f_code.co_filename not in {fieldsync.bell.__file__, threading.__file__}:
            return None
        if event == "line" and not self.has_come.is_set():
            self._left -= 1
            if self._left < 0:
                self._handler()
                self.has_come.set()
        return self._trace


def test_stop_in_a_signal_handler_is_heard_wherever_it_interrupts() -> None:
    """Before each line that the thread itself executes at the bell: no deadlock, no missed ring."""
    for last in range(LINES_MAX):
        bell, is_over = Bell(), threading.Event()
        interruption = Interruption(last, lambda bell=bell: bell.ring(Event.STOP))  # type: ignore[misc]
        missed: list[int] = []

        def rescue(
            bell: Bell, was: Interruption, over: threading.Event, missed: list[int]
        ) -> None:
            if was.has_come.wait(A_WHILE_S) and not over.wait(WAIT_S):
                missed.append(1)
            bell.ring(Event.STOP)  # it sleeps, with no line left to interrupt; or it has missed it

        thread = threading.Thread(target=rescue, args=(bell, interruption, is_over, missed))
        thread.start()
        with interruption:
            bell.wait(2 * WAIT_S, for_event=Event.STOP)
        is_over.set()
        thread.join()

        assert not missed, f"before line {last}"
        if not interruption.has_come.is_set():
            assert last > 5, "nothing was interrupted"
            return
    pytest.fail("a wait without end")


@contextmanager
def running(phone: Phone) -> Iterator[threading.Thread]:
    """The phone, syncing by itself in another thread; whatever that raises is raised here."""
    errors: list[BaseException] = []

    def live() -> None:
        try:
            phone.client.run_forever()
        except BaseException as error:  # raised below
            errors.append(error)

    thread = threading.Thread(target=live)
    thread.start()
    yield thread
    thread.join(WAIT_S)
    assert not thread.is_alive()
    if errors:
        raise errors[0]


def test_stop_in_the_middle_sends_no_further_request(server: FakeServer, phone: Phone) -> None:
    """What is under way comes to its end, and its answer counts; the rest is for the next start."""
    row_id = phone["work_orders"].create(ORDER)

    def stop(path: str) -> None:
        if path.endswith("push"):
            phone.client.stop()

    server.requests.clear()
    server.before_answer = stop
    with running(phone):
        pass

    paths = [request.url.path for request in server.requests]
    assert [path for path in paths if not path.endswith("events")][-1].endswith("push")
    assert not any(path.endswith("pull") for path in paths)
    assert phone.client.status().unsent == 0
    assert server.live("work_orders").keys() == {row_id}


def test_closing_ends_a_client_that_syncs_by_itself(server: FakeServer, phone: Phone) -> None:
    """In the middle of a request, too; and nothing is said of a closed database."""
    phone["work_orders"].create(ORDER)
    is_under_way, is_closed = threading.Event(), threading.Event()

    def hold(path: str) -> None:
        if path.endswith("push"):
            is_under_way.set()
            assert is_closed.wait(WAIT_S)

    server.before_answer = hold
    with running(phone):
        assert is_under_way.wait(WAIT_S)
        phone.client.close()
        is_closed.set()


def test_nobody_else_is_at_the_connection_in_a_transaction(phone: Phone) -> None:
    """A read outside of it waits: neither in its middle, nor of what is not committed.

    SQLite crashes the process where a connection is closed in the middle of a statement.
    """
    store, outbox = phone.client._engine._store, phone.client._engine._outbox
    begun, counted = threading.Event(), threading.Event()
    found: list[int] = []

    def count() -> None:
        assert begun.wait(WAIT_S)
        found.append(outbox.count_pending())
        counted.set()

    thread = threading.Thread(target=count)
    thread.start()
    with suppress(ZeroDivisionError), store.transaction():
        phone["work_orders"].create(ORDER)
        begun.set()
        assert not counted.wait(A_WHILE_S)
        raise ZeroDivisionError
    thread.join(WAIT_S)

    assert found == [0]
