"""The pool of threads that requests are carried out in."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from backend.serving.workers import WorkerPool

THREADS, WAITING = 3, 2
WAIT_S = 30.0


class Gate:
    """Work that stands still until it may go on; counts how many do so at once."""

    def __init__(self) -> None:
        self.may_go = threading.Event()
        self.lock = threading.Lock()
        self.inside = self.most = 0

    def work(self) -> str:
        with self.lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
        assert self.may_go.wait(WAIT_S)
        with self.lock:
            self.inside -= 1
        return threading.current_thread().name

    async def stand(self, count: int) -> None:
        """Return when `count` threads stand in it."""
        async with asyncio.timeout(WAIT_S):
            while self.inside < count:
                await asyncio.sleep(0)


@pytest.fixture
def gate() -> Iterator[Gate]:
    """Return a gate, which opens at the end whatever happens."""
    gate = Gate()
    yield gate
    gate.may_go.set()


def workers() -> set[threading.Thread]:
    """Return the threads of all pools."""
    return {each for each in threading.enumerate() if each.name.startswith("worker-")}


@pytest.fixture
def pool(gate: Gate) -> Iterator[WorkerPool]:
    """Return a pool, of which nothing is left at the end."""
    before = workers()
    pool = WorkerPool(threads_max=THREADS)
    yield pool
    gate.may_go.set()
    pool.close(wait_s=WAIT_S)
    assert workers() == before


def test_work_beyond_the_threads_waits_its_turn(pool: WorkerPool, gate: Gate) -> None:
    """Each thread keeps a database connection: a bound on them is a bound on those."""

    async def crowd() -> list[str]:
        tasks = [asyncio.create_task(pool.run(gate.work)) for _ in range(THREADS + WAITING)]
        await gate.stand(THREADS)
        gate.may_go.set()
        return await asyncio.gather(*tasks)

    names = asyncio.run(crowd())

    assert gate.most == THREADS
    assert set(names) == {f"worker-{number}" for number in range(THREADS)}


def test_quiet_server_uses_one_thread(pool: WorkerPool) -> None:
    """Few warm connections are better than many cold ones, for PostgreSQL too."""

    async def one_after_the_other() -> set[str]:
        return {await pool.run(lambda: threading.current_thread().name) for _ in range(20)}

    assert asyncio.run(one_after_the_other()) == {"worker-0"}


@pytest.mark.parametrize("error", [ValueError("x"), StopIteration(), SystemExit(1)])
def test_failed_work_is_told_and_the_thread_goes_on(
    pool: WorkerPool, error: BaseException
) -> None:
    """Whatever it was: a thread that ends would be missing for ever, a loop that ends takes all."""

    def fail() -> None:
        raise error

    async def fail_often() -> str:
        for _ in range(THREADS + 1):
            with pytest.raises(ValueError if isinstance(error, ValueError) else RuntimeError):
                await pool.run(fail)
        return await pool.run(lambda: "fine")

    assert asyncio.run(fail_often()) == "fine"


def test_work_that_nobody_waits_for_is_not_begun(pool: WorkerPool, gate: Gate) -> None:
    """Its client has gone while it was in the queue."""
    done: list[str] = []

    async def leave() -> None:
        tasks = [asyncio.create_task(pool.run(gate.work)) for _ in range(THREADS)]
        await gate.stand(THREADS)
        waiting = asyncio.create_task(pool.run(lambda: done.append("left")))
        staying = asyncio.create_task(pool.run(lambda: done.append("stayed")))
        await asyncio.sleep(0)
        waiting.cancel()
        gate.may_go.set()
        await asyncio.gather(*tasks, staying)

    asyncio.run(leave())

    assert done == ["stayed"]


def test_closed_pool_begins_anew(pool: WorkerPool) -> None:
    """One that was closed has no threads; what comes after all is served all the same."""
    before = workers()
    asyncio.run(pool.run(lambda: None))
    assert len(workers() - before) == 1
    pool.close(wait_s=WAIT_S)
    assert workers() == before

    assert asyncio.run(pool.run(lambda: "again")) == "again"
