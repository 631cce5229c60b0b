"""Make something happen inside a push, in this process, at a named point.

with at(Point.LOGGED, fail):                 # a callable: raise, commit something else, ...
with held(Point.APPLIED) as gate:            # the first push that comes there stops
    ...; gate.wait_reached(); ...; gate.open()
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from sync.failpoints import Action, Point, arm, disarm

WAIT_S_MAX = 60.0  # a test that forgets to open its gate fails; it does not block the suite


class Gate:
    """Stops the first thread that comes through, until it is opened."""

    def __init__(self) -> None:
        self._first = threading.Lock()
        self._reached = threading.Event()
        self._opened = threading.Event()

    def __call__(self) -> None:
        """Come through: the first waits until the gate is open, all others just pass."""
        if self._first.acquire(blocking=False):
            self._reached.set()
            if not self._opened.wait(WAIT_S_MAX):
                message = "nobody opened the gate"
                raise TimeoutError(message)

    def wait_reached(self) -> None:
        """Return when a thread stands at the gate.

        Raises:
            TimeoutError: none came.
        """
        if not self._reached.wait(WAIT_S_MAX):
            message = "nobody came to the gate"
            raise TimeoutError(message)

    def open(self) -> None:
        """Let the one that waits go on, and all later ones pass."""
        self._opened.set()


@contextmanager
def at(point: Point, action: Action) -> Iterator[None]:
    """Run `action` in every thread that reaches `point` during the block."""
    arm(point, action)
    try:
        yield
    finally:
        disarm(point)


@contextmanager
def held(point: Point) -> Iterator[Gate]:
    """Stop the first thread that reaches `point`; the gate opens at the end of the block."""
    gate = Gate()
    with at(point, gate):
        try:
            yield gate
        finally:
            gate.open()
