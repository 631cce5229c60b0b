"""The pool of threads that requests are carried out in, and that streams ask the database in.

    event loop                               thread
    run(work) -> idle thread, or queue  -->  work() -> connection kept for the next
              <------- one wake-up --------  result

A thread that finishes takes the next work from the queue by itself. The one that became idle last
is used first: a few warm connections are better than many cold ones.
"""

from __future__ import annotations

import asyncio
import dataclasses
import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

from django.db import connections

T = TypeVar("T")
Inbox = queue.SimpleQueue["_Job | None"]


@dataclasses.dataclass(slots=True, eq=False)
class _Job:
    """Something to do, and where to say what came of it."""

    work: Callable[[], Any]
    future: asyncio.Future[Any]
    loop: asyncio.AbstractEventLoop

    def carry_out(self) -> tuple[Any, BaseException | None]:
        if self.future.cancelled():  # nobody waits for it any more, and it has not begun
            return None, None
        try:
            return self.work(), None
        except BaseException as error:  # a thread must survive whatever a request does
            return None, error

    def tell(self, result: Any, error: BaseException | None) -> None:
        try:
            self.loop.call_soon_threadsafe(_settle, self.future, result, error)
        except RuntimeError:  # the loop is closed: nobody waits
            return


@dataclasses.dataclass(slots=True, eq=False)
class _Worker:
    """One thread, as the pool sees it."""

    thread: threading.Thread
    inbox: Inbox
    is_retired: bool = False


class WorkerPool:
    """At most `threads_max` threads, each with the database connections that it keeps."""

    def __init__(self, *, threads_max: int) -> None:
        self.threads_max = threads_max
        self._lock = threading.Lock()
        self._workers: list[_Worker] = []
        self._idle: list[_Worker] = []
        self._waiting: deque[_Job] = deque()

    async def run(self, work: Callable[[], T]) -> T:
        """Return what `work` returns in one of the threads; raise what it raises.

        It waits its turn: whom to let in, and how many, is for callers to know. When the caller
        is cancelled, work that has begun goes on to its end, unheard.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._give(_Job(work=work, future=future, loop=loop))
        return await future

    def close(self, *, wait_s: float) -> None:
        """End the threads and their connections; those still at work after `wait_s` by themselves.

        The next `run` would begin with new ones.
        """
        with self._lock:
            retired, idle = self._workers, self._idle
            self._workers, self._idle = [], []
            self._waiting.clear()
            for worker in retired:
                worker.is_retired = True
        for worker in idle:
            worker.inbox.put(None)
        until = time.monotonic() + wait_s
        for worker in retired:
            worker.thread.join(max(0.0, until - time.monotonic()))

    def _give(self, job: _Job) -> None:
        with self._lock:
            if self._idle:
                self._idle.pop().inbox.put(job)
            elif len(self._workers) < self.threads_max:
                self._start_worker(job)
            else:
                self._waiting.append(job)

    def _start_worker(self, job: _Job) -> None:
        worker = _Worker(thread=threading.Thread(), inbox=queue.SimpleQueue())
        name = f"worker-{len(self._workers)}"
        # A daemon: a request that hangs for longer than the server may take to stop is left to
        # its transaction, which ends with the process.
        worker.thread = threading.Thread(target=self._live, args=(worker,), name=name, daemon=True)
        worker.inbox.put(job)
        self._workers.append(worker)
        worker.thread.start()

    def _live(self, worker: _Worker) -> None:
        """Carry out job after job: the life of a thread."""
        try:
            job = worker.inbox.get()
            while job is not None:
                outcome = job.carry_out()
                following = self._next(worker)  # before the answer: its client may ask at once
                job.tell(*outcome)
                del job, outcome  # what it holds must not live as long as the thread idles
                job = following or (None if worker.is_retired else worker.inbox.get())
        finally:
            connections.close_all()

    def _next(self, worker: _Worker) -> _Job | None:
        """Return what `worker` is to do next; None makes it idle, or ends it."""
        with self._lock:
            if worker.is_retired:
                return None
            if self._waiting:
                return self._waiting.popleft()
            self._idle.append(worker)
            return None


def _settle(future: asyncio.Future[Any], result: Any, error: BaseException | None) -> None:
    """Give the result to who waits for it; on the event loop."""
    if future.done():
        return
    if error is None:
        future.set_result(result)
    elif isinstance(error, Exception) and not isinstance(error, StopIteration):
        future.set_exception(error)
    else:  # it would end the loop, or could not be set
        wrapped = RuntimeError(f"a thread's work ended in {error!r}")
        wrapped.__cause__ = error
        future.set_exception(wrapped)
