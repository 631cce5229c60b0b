"""Bell: what happens while the engine rests, from whichever thread it happens in.

edit, poke, login, stop --ring--> bell --take--> the engine, which rests no longer
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from fieldsync.machine import Event

if TYPE_CHECKING:
    from collections.abc import Callable


class Bell:
    """Events that nobody has dealt with yet, each once. Safe to share between threads."""

    def __init__(self) -> None:
        self._rung: set[Event] = set()
        self._changed = threading.Condition()
        self._listeners: list[Callable[[], None]] = []

    def ring(self, event: Event) -> None:
        """Say that `event` has happened."""
        with self._changed:
            self._rung.add(event)
            self._changed.notify_all()
            listeners = list(self._listeners)
        for listener in listeners:
            listener()

    def has(self, event: Event) -> bool:
        """Whether `event` waits to be dealt with."""
        with self._changed:
            return event in self._rung

    def is_rung(self) -> bool:
        """Whether anything waits to be dealt with."""
        with self._changed:
            return bool(self._rung)

    def take(self) -> list[Event]:
        """Return what has happened, the more important first, and forget it; but not a stop."""
        with self._changed:
            rung, self._rung = self._rung, self._rung & {Event.STOP}
        return sorted(rung)

    def forget_stop(self) -> None:
        """What was to stop has stopped."""
        with self._changed:
            self._rung.discard(Event.STOP)

    def wait(self, seconds: float, *, for_event: Event | None = None) -> None:
        """Block for `seconds`, or until anything rings, or `for_event` does if it is given."""

        def is_over() -> bool:
            return bool(self._rung) if for_event is None else for_event in self._rung

        with self._changed:
            self._changed.wait_for(is_over, timeout=seconds)

    def tell(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` at every ring, in the thread that rings; returns what ends that."""
        with self._changed:
            self._listeners.append(listener)

        def end() -> None:
            with self._changed:
                self._listeners.remove(listener)

        return end
