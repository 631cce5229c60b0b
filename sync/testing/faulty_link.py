"""A bad network between devices and a server: loses, cuts, doubles and delays HTTP messages.

    device ──> link.url ──[ one fault or none for each request ]──> upstream

    with faulty_link(server.url, rates=FaultRates(answer_lost=0.2), rng=random.Random(7)) as link:
        ... devices talk to link.url ...
        link.heal()                       # from now on nothing is lost: everything must drain
    assert link.counts[Fault.ANSWER_LOST] > 0

It knows of HTTP/1.1 just what it needs to see where a message ends; what it does not know
(upgrades, other protocols) passes unchanged. The same `rng` and the same order of requests give
the same faults.
"""

from __future__ import annotations

import asyncio
import re
import socket
import threading
from collections import Counter, deque
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from sync.testing.exchange import Exchange
from sync.testing.http_line import PIECE_BYTES, Message, Side, read_head, tunnel

if TYPE_CHECKING:
    import random
    from collections.abc import AsyncIterator, Iterator

HOST = "127.0.0.1"
START_S_MAX = 10.0
BACKLOG = 1024  # connections that arrive in the same moment
REQUEST_LINE = re.compile(rb"^([A-Z]+) \S+ HTTP/1\.[01]\r?\n$")


class Fault(StrEnum):
    """What can happen to a request; the values are names of `FaultRates` fields."""

    ANSWER_LOST = "answer_lost"
    """The server has answered, so it has committed; the device hears nothing."""
    CUT_BEFORE = "cut_before"
    """The connection breaks before the server has heard of the request."""
    REQUEST_CUT = "request_cut"
    """The server gets a part of the request."""
    DOUBLED = "doubled"
    """The server gets the request twice at once, on two connections; one answer goes back."""
    DELAYED = "delayed"
    """The request waits up to `delay_s_max` seconds on its way."""
    ANSWER_TRUNCATED = "answer_truncated"
    """The device gets a part of the answer."""
    STALLED = "stalled"
    """A black hole: nobody answers, until the device gives up."""
    SLOW = "slow"
    """The request arrives in small pieces, with pauses in between."""
    LATE = "late"
    """The device hears nothing; the request arrives up to `delay_s_max` later, behind others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultRates:
    """How often each fault happens, as shares of all requests; together at most 1.

    Raises:
        ValueError: a share is negative, or together they are more than 1.
    """

    answer_lost: float = 0.0
    cut_before: float = 0.0
    request_cut: float = 0.0
    doubled: float = 0.0
    delayed: float = 0.0
    answer_truncated: float = 0.0
    stalled: float = 0.0
    slow: float = 0.0
    late: float = 0.0
    delay_s_max: float = 0.2

    def __post_init__(self) -> None:
        values = [getattr(self, field.name) for field in fields(self)]
        if min(values) < 0 or sum(getattr(self, fault) for fault in Fault) > 1 + 1e-9:
            message = f"fault rates must be shares that add up to at most 1: {self}"
            raise ValueError(message)

    def draw(self, rng: random.Random) -> Fault | None:
        """The fault of one request, or None."""
        point = rng.random()
        for fault in Fault:
            point -= getattr(self, fault)
            if point < 0:
                return fault
        return None


@contextmanager
def faulty_link(
    upstream: str, *, rng: random.Random, rates: FaultRates | None = None
) -> Iterator[FaultyLink]:
    """Run a link to the server at `upstream` (http://host:port) in a thread of its own.

    Without `rates` it is a good link, for tests that `force` single faults.
    """
    link = FaultyLink(upstream, rng=rng, rates=rates or FaultRates())
    link.start()
    try:
        yield link
    finally:
        link.close()


class FaultyLink:
    """A running link; its methods may be called from any thread."""

    def __init__(self, upstream: str, *, rng: random.Random, rates: FaultRates) -> None:
        self.redirect(upstream)
        self._rng = rng
        self._rates = rates
        self._forced: deque[Fault | None] = deque()
        self._counts: Counter[Fault] = Counter()
        self._requests = 0
        self._port = 0
        self._failure: BaseException | None = None
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, name="faulty-link", daemon=True)

    @property
    def url(self) -> str:
        """Where devices find the server, through this link."""
        return f"http://{HOST}:{self._port}"

    @property
    def counts(self) -> Counter[Fault]:
        """How often each fault has happened; a copy."""
        return self._counts.copy()

    @property
    def requests(self) -> int:
        """How many requests have arrived."""
        return self._requests

    def force(self, *faults: Fault | None) -> None:
        """Give the next requests these faults (None: a good one), whatever the rates say."""
        self._forced.extend(faults)

    def set_rates(self, rates: FaultRates) -> None:
        """Give all later requests these faults."""
        self._rates = rates

    def redirect(self, upstream: str) -> None:
        """Lead all later requests to another server; what is under way stays where it is."""
        parts = urlsplit(upstream)
        self._upstream = (parts.hostname or HOST, parts.port or 80)

    def heal(self) -> None:
        """No more faults; what is under way keeps its fault."""
        self.set_rates(FaultRates())
        self._forced.clear()

    def start(self) -> None:
        """Start listening.

        Raises:
            OSError: it could not listen.
        """
        self._thread.start()
        self._started.wait(START_S_MAX)
        if self._failure:
            raise self._failure

    def close(self) -> None:
        """Cut all connections and end the thread."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(START_S_MAX)

    def _run(self) -> None:
        try:
            asyncio.run(self._listen())
        except OSError as failure:
            self._failure = failure
        finally:
            self._started.set()

    async def _listen(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        with socket.create_server((HOST, 0), backlog=BACKLOG) as listening:
            listening.settimeout(0)
            self._port = listening.getsockname()[1]
            # Not asyncio's server: closing it drops a connection that it is about to hand over.
            self._loop.add_reader(listening, self._accept, listening)
            self._started.set()
            await self._stopping.wait()
            self._loop.remove_reader(listening)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await asyncio.sleep(0)  # aborted connections close their sockets in the loop's next turn

    def _accept(self, listening: socket.socket) -> None:
        with suppress(BlockingIOError, ConnectionAbortedError):
            connection, _ = listening.accept()
            task = asyncio.create_task(self._serve(connection))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
            task.add_done_callback(lambda _: connection.close())  # also if it never came to run

    async def _serve(self, connection: socket.socket) -> None:
        """Carry one device's connection, request after request, until it is cut or ends."""
        connection.settimeout(0)
        device = Side(*await asyncio.open_connection(sock=connection, limit=PIECE_BYTES))
        try:
            while await self._carry(device):
                pass
            await device.close()
        except* (OSError, EOFError, ValueError, asyncio.LimitOverrunError):
            pass  # a fault of ours, a side that has gone, or something that has no borders
        finally:
            device.reset()

    async def _carry(self, device: Side) -> bool:
        """Carry one request and its answer; whether the connection can be used again."""
        first = await device.reader.read(1)
        if not first:
            return False
        line = first + (await device.reader.readuntil(b"\n") if first.isupper() else b"")
        request_line = REQUEST_LINE.match(line)
        if not request_line:
            async with self._connect() as upstream:
                await tunnel(device, upstream, line)
            return False
        head = line + await read_head(device.reader)
        request = Message.of_request(head, device.reader)
        exchange = Exchange(device=device, request=request, is_head=request_line[1] == b"HEAD")
        return await self._carry_out(exchange, self._choose_fault())

    async def _carry_out(self, exchange: Exchange, fault: Fault | None) -> bool:
        """Carry `exchange` with its fault; whether the device's connection can be used again."""
        match fault:
            case Fault.CUT_BEFORE:
                raise ConnectionResetError
            case Fault.STALLED:
                return await exchange.swallow()
            case Fault.DOUBLED:
                async with self._connect() as one, self._connect() as other:
                    return await exchange.run_doubled(one, other)
            case Fault.LATE:
                await exchange.run_late(self._connect, self._draw_delay_s())
                return False
            case Fault.DELAYED:
                await asyncio.sleep(self._draw_delay_s())
                fault = None
            case _:
                pass
        async with self._connect() as upstream:
            return await self._carry_with(upstream, exchange, fault)

    def _draw_delay_s(self) -> float:
        return self._rng.random() * self._rates.delay_s_max

    async def _carry_with(self, upstream: Side, exchange: Exchange, fault: Fault | None) -> bool:
        match fault:
            case Fault.REQUEST_CUT:
                return await exchange.run_request_cut(upstream, self._rng)
            case Fault.ANSWER_LOST:
                return await exchange.run_answer_lost(upstream)
            case Fault.SLOW:
                return await exchange.run_slow(upstream)
            case Fault.ANSWER_TRUNCATED:
                return await exchange.run_answer_truncated(upstream, self._rng)
            case _:
                return await exchange.run(upstream)

    def _choose_fault(self) -> Fault | None:
        self._requests += 1
        try:
            fault = self._forced.popleft()
        except IndexError:
            fault = self._rates.draw(self._rng)
        if fault:
            self._counts[fault] += 1
        return fault

    @asynccontextmanager
    async def _connect(self) -> AsyncIterator[Side]:
        side = Side(*await asyncio.open_connection(*self._upstream, limit=PIECE_BYTES))
        try:
            yield side
        finally:
            await side.close()
