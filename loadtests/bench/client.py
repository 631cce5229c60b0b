"""Devices that push: one process each, with one connection that it keeps.

    driver              client
      |------ Job ------->|  connect
      |<----- port -------|
      |-- keep or again ->|  (again until the server's processes have equal shares)
      |<---- ready -------|  warm up
      |------ go -------->|  push batch after batch, keep the raw answers; then read them all
      |<----- Done -------|

Bodies are made before, and answers read after, the clock runs: in between a client only sends and
receives, so that it is never what is measured. A client whose driver is gone ends by itself.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
import signal
import socket
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from typing import Any, Final

from loadtests.bench.errors import BenchFailed
from loadtests.bench.workload import PATH, Batch, find_failure

HOST: Final = "127.0.0.1"
ANSWER_S_MAX: Final = 120.0  # far beyond any answer; a server that hangs must end the bench
END_S_MAX: Final = 10.0
CONNECTS_MAX: Final = 500  # tries to get a connection that the driver keeps
FAILURES_SHOWN_MAX: Final = 3
RECEIVE_BYTES: Final = 256 * 1024
BORDER: Final = b"\r\n\r\n"

KEEP, AGAIN, GO = "keep", "again", "go"  # what the driver says

Answer = tuple[int, bytes]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What one client has to push: `warm_up` before the clock, `batches` while it runs."""

    port: int
    headers: Mapping[str, str]
    warm_up: Sequence[Batch]
    batches: Sequence[Batch]


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """When a client began and ended, on the clock that all processes share, and what failed."""

    began: float
    ended: float
    failures: Sequence[str]


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
            BenchFailed: an answer was not what it had to be.
        """
        for end in self._busy:
            end.send(GO)
        done: list[Done] = [_receive(end) for end in self._busy]
        failures = [failure for each in done for failure in each.failures]
        if failures:
            raise BenchFailed("\n".join(failures[:FAILURES_SHOWN_MAX]))
        return max(each.ended for each in done) - min(each.began for each in done)


@contextmanager
def start_clients(count: int) -> Iterator[Clients]:
    """Start `count` client processes, which end with the block."""
    context = multiprocessing.get_context("spawn")  # a fork would inherit connections
    processes, ends = [], []
    try:
        for _ in range(count):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs,), daemon=True)
            process.start()
            theirs.close()  # else we would never see that the process has gone
            processes.append(process)
            ends.append(ours)
        yield Clients(ends)
    finally:
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


def _carry_out(job: Job, driver: Connection) -> Done | BenchFailed:
    try:
        with _connect(job.port, driver) as link:
            return _work(job, link, driver)
    except (BenchFailed, OSError) as error:
        return BenchFailed(str(error) or repr(error))


def _connect(port: int, driver: Connection) -> socket.socket:
    """Return a connection that the driver keeps; an answer on it shows which process has it."""
    probe = f"GET {PATH} HTTP/1.1\r\nHost: {HOST}".encode() + BORDER
    for _ in range(CONNECTS_MAX):
        link = socket.create_connection((HOST, port), ANSWER_S_MAX)
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        _exchange(link, probe)
        driver.send(link.getsockname()[1])
        if driver.recv() == KEEP:
            return link
        link.close()
    message = "the server's processes do not share the connections"
    raise BenchFailed(message)


def _work(job: Job, link: socket.socket, driver: Connection) -> Done:
    for batch in job.warm_up:
        failure = find_failure(batch, *_exchange(link, _request(job, batch)))
        if failure:
            raise BenchFailed(failure)
    requests = [_request(job, batch) for batch in job.batches]
    driver.send("ready")
    driver.recv()
    began = time.monotonic()
    answers = [_exchange(link, request) for request in requests]
    ended = time.monotonic()
    found = (find_failure(b, *a) for b, a in zip(job.batches, answers, strict=True))
    return Done(began=began, ended=ended, failures=[failure for failure in found if failure])


def _request(job: Job, batch: Batch) -> bytes:
    headers = {
        "Host": HOST,
        "Content-Type": "application/json",
        "Content-Length": str(len(batch.body)),
        "Idempotency-Key": batch.key,
        **job.headers,
    }
    lines = [f"POST {PATH} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join(lines).encode() + BORDER + batch.body


def _exchange(link: socket.socket, request: bytes) -> Answer:
    """Send a request; return the status and the body of its answer."""
    link.sendall(request)
    received = bytearray()
    while (border := received.find(BORDER)) < 0:
        received += _receive_some(link)
    status, length = _read_head(bytes(received[:border]))
    start = border + len(BORDER)
    while len(received) < start + length:
        received += _receive_some(link)
    return status, bytes(received[start:])


def _read_head(head: bytes) -> tuple[int, int]:
    """Return the status and the length of the body."""
    first, *lines = head.split(b"\r\n")
    for line in lines:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(first.split()[1]), int(value)
    message = f"an answer without Content-Length: {head!r}"
    raise BenchFailed(message)


def _receive_some(link: socket.socket) -> bytes:
    chunk = link.recv(RECEIVE_BYTES)
    if not chunk:
        message = "the server hung up"
        raise BenchFailed(message)
    return chunk
