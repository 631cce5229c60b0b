"""Devices: one process each, with one connection that it keeps.

    driver              client
      |------ Job ------->|  connect
      |<----- port -------|
      |-- keep or again ->|  (again until the server's processes have equal shares)
      |<---- ready -------|  warm up
      |------ go -------->|  do work after work, keep the raw answers
      |<----- Done -------|  read them all
      |<--- failures -----|

Bodies are made before, and answers read after, the clock runs: in between a client only sends and
receives (and takes the cursor from a page), so that it is never what is measured. A client whose
driver is gone ends by itself.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
import signal
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from multiprocessing.connection import Connection
from typing import Any, Final, Protocol

import msgspec

from backend.devstack.signals import held
from loadtests.bench.errors import BenchFailed
from loadtests.bench.exchange import Answer, Link, Request

PROBE: Final = Request(method="GET", target="/")
END_S_MAX: Final = 10.0
CONNECTS_MAX: Final = 500  # tries to get a connection that the driver keeps
FAILURES_SHOWN_MAX: Final = 3

KEEP, AGAIN, GO = "keep", "again", "go"  # what the driver says


class Work(Protocol):
    """Requests that follow from each other, and what must come of them."""

    @property
    def units(self) -> int:
        """How much work it is: rows, or requests."""

    def exchange(self) -> Generator[Request, Answer, None]:
        """Yield the requests, each after the answer to the one before."""

    def find_failure(self, answers: Sequence[Answer]) -> str | None:
        """Return what is wrong with the answers; None if all came to what they had to."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What one client has to do: `warm_up` before the clock, `works` while it runs."""

    port: int
    headers: Mapping[str, str]
    warm_up: Sequence[Work]
    works: Sequence[Work]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """When a client began and ended, on the clock that all processes share."""

    began: float
    ended: float


class Clients:
    """Processes that wait for jobs; made by `start_clients`."""

    def __init__(self, ends: Sequence[Connection]) -> None:
        self._ends = ends
        self._busy: Sequence[Connection] = ()

    def prepare(self, jobs: Sequence[Job], *, is_kept: Callable[[int], bool]) -> None:
        """Give `jobs` out, one a process; returns when all are connected and warm.

        `is_kept` says by its client's port whether a new connection will do.

        Raises:
            BenchFailed: an answer was not what it had to be, or no connection would do.
        """
        self._busy = self._ends[: len(jobs)]
        for end, job in zip(self._busy, jobs, strict=True):
            end.send(job)
            while not is_kept(_receive(end)):
                end.send(AGAIN)
            end.send(KEEP)
        for end in self._busy:
            _receive(end)

    def go(self) -> float:
        """Let the prepared jobs run at once; return the seconds from the first to the last.

        Raises:
            BenchFailed: a server hung up.
        """
        for end in self._busy:
            end.send(GO)
        done: list[Done] = [_receive(end) for end in self._busy]
        return max(each.ended for each in done) - min(each.began for each in done)

    def check(self) -> None:
        """Wait until all answers are read.

        Raises:
            BenchFailed: one was not what it had to be.
        """
        failures = [failure for end in self._busy for failure in _receive(end)]
        if failures:
            raise BenchFailed("\n".join(failures[:FAILURES_SHOWN_MAX]))


@contextmanager
def start_clients(count: int) -> Iterator[Clients]:
    """Start `count` client processes, which end with the block."""
    context = multiprocessing.get_context("spawn")  # a fork would inherit connections
    processes, ends = [], []
    try:
        for _ in range(count):
            with held():  # a signal that comes meanwhile is raised after both were noted down
                ours, theirs = context.Pipe()
                process = context.Process(target=_serve, args=(theirs,), daemon=True)
                process.start()
                theirs.close()  # else we would never see that the process has gone
                processes.append(process)
                ends.append(ours)
        yield Clients(ends)
    finally:
        with held():
            for end in ends:
                end.close()
            for process in processes:
                process.join(END_S_MAX)
                process.kill()
                process.join()


def _receive(end: Connection) -> Any:
    try:
        said = end.recv()
    except EOFError:
        message = "a client process ended before its work was done"
        raise BenchFailed(message) from None
    if isinstance(said, BenchFailed):
        raise said
    return said


def _serve(driver: Connection) -> None:
    """Do the driver's jobs until it is gone: the life of a client process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's goes to all; the driver obeys
    with suppress(EOFError, ConnectionError):  # the driver's end
        while True:
            job = driver.recv()
            driver.send(_carry_out(job, driver))


def _carry_out(job: Job, driver: Connection) -> list[str] | BenchFailed:
    """Return what failed; the driver has been told before when the work was done."""
    try:
        with closing(_connect(job.port, driver)) as link:
            return _work(job, link, driver)
    except (BenchFailed, OSError, msgspec.MsgspecError) as error:
        return BenchFailed(str(error) or repr(error))


def _connect(port: int, driver: Connection) -> Link:
    """Return a connection that the driver keeps; an answer on it shows which process has it."""
    for _ in range(CONNECTS_MAX):
        link = Link(port)
        link.exchange(PROBE.render({}))
        driver.send(link.port)
        if driver.recv() == KEEP:
            return link
        link.close()
    message = "the server's processes do not share the connections"
    raise BenchFailed(message)


def _work(job: Job, link: Link, driver: Connection) -> list[str]:
    def exchange(request: Request) -> Answer:
        return link.exchange(request.render(job.headers))

    for work in job.warm_up:
        failure = work.find_failure(converse(exchange, work))
        if failure:
            raise BenchFailed(failure)
    driver.send("ready")
    driver.recv()
    began = time.monotonic()
    answers = [converse(exchange, work) for work in job.works]
    driver.send(Done(began=began, ended=time.monotonic()))
    found = (work.find_failure(given) for work, given in zip(job.works, answers, strict=True))
    return [failure for failure in found if failure]


def converse(exchange: Callable[[Request], Answer], work: Work) -> list[Answer]:
    """Carry out the requests of `work`, one after the other; return the answers."""
    answers: list[Answer] = []
    requests = work.exchange()
    with suppress(StopIteration):
        request = next(requests)
        while True:
            answers.append(exchange(request))
            request = requests.send(answers[-1])
    return answers
