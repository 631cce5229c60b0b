"""Bell: what happens while the engine rests, from whichever thread it happens in.

edit, poke, login, stop --ring--> bell --take--> the engine, which rests no longer
"""

from __future__ import annotations

import time
from contextlib import suppress
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from fieldsync.machine import Event

if TYPE_CHECKING:
    from collections.abc import Callable


class Bell:
    """Events that nobody has dealt with yet, each once.

    Safe to share between threads, and to ring in a signal handler: that interrupts its own thread
    anywhere, also at the bell, so nothing here holds a lock. Each step is one that Python makes
    whole.
    """

    def __init__(self) -> None:
        self._rung: set[Event] = set()
        self._listeners: list[Callable[[], None]] = []

    def ring(self, event: Event) -> None:
        """Say that `event` has happened."""
        self._rung.add(event)
        for listener in tuple(self._listeners):
            listener()

    def has(self, event: Event) -> bool:
        """Whether `event` waits to be dealt with."""
        return event in self._rung

    def is_rung(self) -> bool:
        """Whether anything waits to be dealt with."""
        return bool(self._rung)

    def take(self) -> list[Event]:
        """Return what has happened, the more important first, and forget it; but not a stop."""
        rung = sorted(self._rung.copy())
        # One that rings again in between is forgotten with the first: both are dealt with now.
        self._rung.difference_update(event for event in rung if event is not Event.STOP)
        return rung

    def forget_stop(self) -> None:
        """What was to stop has stopped."""
        self._rung.discard(Event.STOP)

    def wait(self, seconds: float, *, for_event: Event | None = None) -> None:
        """Block for `seconds`, or until anything rings, or `for_event` does if it is given."""
        until = time.monotonic() + seconds
        woken: SimpleQueue[None] = SimpleQueue()  # may be put into by a handler
        end = self.tell(lambda: woken.put(None))
        try:
            while not (self.has(for_event) if for_event is not None else self.is_rung()):
                left_s = until - time.monotonic()
                if left_s <= 0:
                    return
                with suppress(Empty):
                    woken.get(timeout=left_s)
        finally:
            end()

    def tell(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` at every ring, in the thread that rings; returns what ends that."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)
