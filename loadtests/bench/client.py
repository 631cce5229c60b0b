"""Devices that push: one process each, with one connection that it keeps.

    driver --job--> client: connect, warm up --ready--> driver
    driver --go---> client: push batch after batch, keep the raw answers; then check them all
                    client --Done(began, ended, failures)--> driver

Bodies are made before, and answers read after, the clock runs: in between the client only sends
and receives, so that it is never what is measured. A client whose driver is gone ends by itself.
"""

from __future__ import annotations

import dataclasses
import multiprocessing
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing.connection import Connection
from typing import Any, Final

import msgspec

from loadtests.bench.workload import Batch

ANSWER_S_MAX: Final = 120.0  # far beyond any answer; a server that hangs must end the bench
END_S_MAX: Final = 10.0
FAILURES_SHOWN_MAX: Final = 3
RECEIVE_BYTES: Final = 256 * 1024


class BenchFailed(Exception):
    """A push did not do what it had to: its figures would be worth nothing."""


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What one client has to push: `warm_up` before the clock, `batches` while it runs."""

    port: int
    path: str
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
    """Processes that wait for jobs; see `clients`."""

    def __init__(self, ends: Sequence[Connection]) -> None:
        self._ends = ends
        self._busy: Sequence[Connection] = ()

    def prepare(self, jobs: Sequence[Job]) -> None:
        """Give `jobs` out, one a process; returns when all are connected and warm.

        Raises:
            BenchFailed: an answer was not what it had to be.
        """
        self._busy = self._ends[: len(jobs)]
        for end, job in zip(self._busy, jobs, strict=True):
            end.send(job)
            _receive(end)

    def go(self) -> float:
        """Let the prepared jobs run at once; return the seconds from the first to the last.

        Raises:
            BenchFailed: an answer was not what it had to be.
        """
        for end in self._busy:
            end.send(None)
        done: list[Done] = [_receive(end) for end in self._busy]
        failures = [failure for each in done for failure in each.failures]
        if failures:
            raise BenchFailed("\n".join(failures[:FAILURES_SHOWN_MAX]))
        return max(each.ended for each in done) - min(each.began for each in done)


@contextmanager
def clients(count: int) -> Iterator[Clients]:
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
        answer = end.recv()
    except EOFError:
        message = "a client process ended before its work was done"
        raise BenchFailed(message) from None
    if isinstance(answer, BenchFailed):
        raise answer
    return answer


def _serve(driver: Connection) -> None:
    """Do the driver's jobs until it is gone; the life of a client process."""
    while True:
        try:
            job: Job = driver.recv()
            with socket.create_connection(("127.0.0.1", job.port), ANSWER_S_MAX) as link:
                driver.send(_work(job, link, driver))
        except (EOFError, BrokenPipeError, KeyboardInterrupt):
            return
        except (BenchFailed, OSError) as error:
            driver.send(BenchFailed(str(error) or repr(error)))


def _work(job: Job, link: socket.socket, driver: Connection) -> Done:
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for batch in job.warm_up:
        failure = find_failure(batch, *_exchange(link, _request(job, batch)))
        if failure:
            raise BenchFailed(failure)
    requests = [_request(job, batch) for batch in job.batches]
    driver.send("ready")
    driver.recv()
    answers = []
    began = time.monotonic()
    for request in requests:
        answers.append(_exchange(link, request))
    ended = time.monotonic()
    found = (find_failure(b, *a) for b, a in zip(job.batches, answers, strict=True))
    return Done(began=began, ended=ended, failures=[failure for failure in found if failure])


def find_failure(batch: Batch, head: bytes, body: bytes) -> str | None:
    """Return what is wrong with the answer to `batch`; None if all its rows came to what they had to."""
    status = head.split(b" ", 2)[1]
    if status != b"200":
        return f"a push was answered {status.decode()}: {body[:500]!r}"
    results = msgspec.json.decode(body)["results"]
    wanted = {"outcome": batch.outcome, "version": batch.version}
    bad = [line for line in results if not wanted.items() <= line.items()]
    if bad:
        return f"a row came to {bad[0]} instead of {wanted}"
    if [line["index"] for line in results] != list(range(batch.rows)):
        return f"{len(results)} results for {batch.rows} rows"
    return None


def _request(job: Job, batch: Batch) -> bytes:
    headers = {
        "Host": "127.0.0.1",
        "Content-Type": "application/json",
        "Content-Length": str(len(batch.body)),
        "Idempotency-Key": batch.key,
        **job.headers,
    }
    lines = [f"POST {job.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + batch.body


def _exchange(link: socket.socket, request: bytes) -> tuple[bytes, bytes]:
    """Send a request; return the head and the body of its answer."""
    link.sendall(request)
    received = bytearray()
    while (border := received.find(b"\r\n\r\n")) < 0:
        received += _some(link)
    head = bytes(received[:border])
    length = _content_length(head)
    while len(received) < border + 4 + length:
        received += _some(link)
    return head, bytes(received[border + 4 :])


def _content_length(head: bytes) -> int:
    for line in head.split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return int(value)
    message = f"an answer without Content-Length: {head!r}"
    raise BenchFailed(message)


def _some(link: socket.socket) -> bytes:
    chunk = link.recv(RECEIVE_BYTES)
    if not chunk:
        message = "the server hung up"
        raise BenchFailed(message)
    return chunk
