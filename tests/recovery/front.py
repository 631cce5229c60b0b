"""A proxy in front of several servers, as small as it gets: a connection goes to one that takes it.

    phone ──> front.url ──> the next of `ports` that answers

It knows nothing of HTTP, and tries nothing twice once a byte has gone through.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress

HOST = "127.0.0.1"
PIECE_BYTES = 65_536
START_S_MAX = 20.0


class Front:
    """A running proxy; `ports` may be changed while it runs."""

    def __init__(self, ports: Sequence[int]) -> None:
        self.ports = list(ports)
        self.port = 0
        self.refused = 0  # connections that no server took
        self._turn = 0
        self._loop = asyncio.new_event_loop()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.port}"

    async def open(self) -> asyncio.Server:
        server = await asyncio.start_server(self._take, HOST, 0, backlog=1024)
        self.port = server.sockets[0].getsockname()[1]
        return server

    async def _take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            with suppress(OSError, asyncio.CancelledError):
                there, back = await self._dial()
                await asyncio.gather(_pipe(reader, back), _pipe(there, writer))
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _dial(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        self._turn += 1
        first = self._turn  # others dial while this one waits
        for step in range(len(self.ports)):
            with suppress(OSError):
                return await asyncio.open_connection(
                    HOST, self.ports[(first + step) % len(self.ports)]
                )
        self.refused += 1
        raise ConnectionRefusedError

    async def close(self, server: asyncio.Server) -> None:
        server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _pipe(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while piece := await reader.read(PIECE_BYTES):
            writer.write(piece)
            await writer.drain()
    finally:
        writer.close()


@contextmanager
def running_front(ports: Sequence[int]) -> Iterator[Front]:
    """Run a proxy, in a thread of its own, for the block."""
    front = Front(ports)
    loop = front._loop
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server = asyncio.run_coroutine_threadsafe(front.open(), loop).result(START_S_MAX)
    try:
        yield front
    finally:
        asyncio.run_coroutine_threadsafe(front.close(server), loop).result(START_S_MAX)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(START_S_MAX)
        loop.close()
