"""The server's worker threads for code on the event loop, and the word that the server closes.

    view, in a thread -> StreamingHttpResponse over an async generator, or `response.hold`
        `- from then on on the event loop, which holds no thread:
               await threads.run(work)        the database, in a worker thread
               threads.on_closing(callback)   end: the server has been told to stop

A server that serves so gives its threads to `set_executor`, and calls `close` on the loop as soon
as it is to stop. Without one (WSGI, Django's test client) `run` does as Django does, and nothing
ever closes.
"""

from __future__ import annotations

import contextvars
import functools
import itertools
import logging
from collections.abc import Callable
from typing import Protocol, TypeVar

from asgiref.sync import sync_to_async
from django.db import close_old_connections, reset_queries

from sync.row_security import nobody

T = TypeVar("T")
log = logging.getLogger(__name__)


class Executor(Protocol):
    """A bounded number of threads."""

    async def run(self, work: Callable[[], T]) -> T:
        """Return what `work` returns in one of the threads; raise what it raises."""
        ...


class _Process:
    """What there is one of per process; the event loop's thread alone changes it."""

    def __init__(self) -> None:
        self.executor: Executor | None = None
        self.is_closing = False
        self.callbacks: dict[int, Callable[[], None]] = {}
        self.numbers = itertools.count()


_process = _Process()


async def run(work: Callable[[], T]) -> T:
    """Return what `work` returns, which may use the ORM and wait; raise what it raises.

    It waits for a thread as long as it takes: whoever calls this was let in before. When the
    caller is cancelled, work that has begun goes on to its end, unheard.
    """
    if _process.executor is None:
        return await sync_to_async(_for_nobody, thread_sensitive=True)(work)
    context = contextvars.copy_context()  # the request id of its log lines
    return await _process.executor.run(functools.partial(context.run, _tidily, work))


def _tidily(work: Callable[[], T]) -> T:
    """Do `work` between what Django does with connections before and after a request."""
    reset_queries()
    close_old_connections()
    try:
        return _for_nobody(work)
    finally:
        close_old_connections()


def _for_nobody(work: Callable[[], T]) -> T:
    """Do `work`, which says itself for which tenant it is."""
    with nobody():
        return work()


def set_executor(executor: Executor | None) -> None:
    """Let `run` use these threads from now on; the server's part."""
    _process.executor = executor
    _process.is_closing = False


def on_closing(callback: Callable[[], None]) -> Callable[[], None]:
    """Call `callback` on the event loop when the server is told to stop; at once if it was.

    Returns what takes it back: whoever has ended by itself need not be told.
    """
    number = next(_process.numbers)
    _process.callbacks[number] = callback
    if _process.is_closing:
        _call(callback)

    def take_back() -> None:
        _process.callbacks.pop(number, None)

    return take_back


def is_closing() -> bool:
    """Whether the server has been told to stop."""
    return _process.is_closing


def close() -> None:
    """Say that the server is to stop; again is harmless. On the event loop; the server's part."""
    if _process.is_closing:
        return
    _process.is_closing = True
    for callback in list(_process.callbacks.values()):
        _call(callback)


def _call(callback: Callable[[], None]) -> None:
    """Call it; one that fails must not keep the others from hearing."""
    try:
        callback()
    except Exception:
        log.exception("a callback of the closing server failed")
