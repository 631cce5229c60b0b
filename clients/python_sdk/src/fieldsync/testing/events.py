"""Events: a small server's pokes, for as long as somebody listens."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import httpx2

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

POKE = b'event: poke\nid: %d\ndata: {"head": %d}\n\n'


class Events(httpx2.SyncByteStream, httpx2.AsyncByteStream):
    """One stream of events: a poke at once, and another whenever the head has moved."""

    def __init__(self, changed: threading.Condition, head: Callable[[], int]) -> None:
        self._changed = changed
        self._head = head
        self._told = -1
        self._is_closed = False

    def _next(self) -> bytes:
        """The next poke; nothing once the stream is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._is_closed or self._head() != self._told)
            if self._is_closed:
                return b""
            self._told = self._head()
        return POKE % (self._told, self._told)

    def __iter__(self) -> Iterator[bytes]:
        while poke := self._next():
            yield poke

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while poke := await asyncio.to_thread(self._next):
            yield poke

    def close(self) -> None:
        """Say no more."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    async def aclose(self) -> None:
        """Say no more."""
        self.close()
