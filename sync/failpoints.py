"""Failpoints: the named moments of a push at which a test can make something happen.

    received -> [ claimed -> locked -> planned -> applied -> answered -> logged ] -> committed
                '------------------- one transaction --------------------------'

The engine calls `reach` at each. Nothing happens unless a test has armed the point in this
process: what is shipped reads no variable and takes no request that could arm one.
"""

from __future__ import annotations

import enum
from collections.abc import Callable

Action = Callable[[], object]


class Point(enum.StrEnum):
    """A moment of a push, in the order in which they come."""

    RECEIVED = "received"
    """The request is understood; its key is not claimed."""
    CLAIMED = "claimed"
    """The key is this transaction's."""
    LOCKED = "locked"
    """The targeted rows are locked."""
    PLANNED = "planned"
    """It is decided what becomes of every mutation; again when the database refuses rows."""
    APPLIED = "applied"
    """The rows are written."""
    ANSWERED = "answered"
    """The answer is stored under the key."""
    LOGGED = "logged"
    """The feed is written, the stream is locked: COMMIT is next."""
    COMMITTED = "committed"
    """All of it is committed, and nobody has heard of it."""


_armed: dict[Point, Action] = {}


def reach(point: Point) -> None:
    """Tell that `point` is reached; runs what is armed there, which may raise or never return."""
    if _armed:  # nearly always empty, and then this is all it costs
        action = _armed.get(point)
        if action is not None:
            action()


def arm(point: Point, action: Action) -> None:
    """Run `action` whenever a thread of this process reaches `point`.

    Raises:
        ValueError: the point is armed already; two tests would spoil each other.
    """
    if point in _armed:
        message = f"the failpoint {point} is armed already"
        raise ValueError(message)
    _armed[point] = action


def disarm(point: Point) -> None:
    """Let `point` pass again; nothing happens when it was not armed."""
    _armed.pop(point, None)
