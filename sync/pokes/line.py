"""A line: what pokes travel on, whatever it is made of."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from typing import Protocol

SILENCE_S = 1.0  # how often a listener looks up from the line
PROVE_S = 15.0  # after so much silence the other end is asked whether it is there
COMPLAIN_S = 60.0


class Complaints:
    """Warnings of one kind, at most one a minute: what is down for hours fills no log."""

    def __init__(self, log: logging.Logger, message: str) -> None:
        self._log = log
        self._message = message
        self._last_at = -COMPLAIN_S

    def __call__(self, error: Exception) -> None:
        """Warn of `error`."""
        now = time.monotonic()
        if now - self._last_at >= COMPLAIN_S:
            self._last_at = now
            self._log.warning("%s: %r", self._message, error.__cause__ or error)


class LineDown(Exception):
    """The line broke, or could not be opened; what was to be said on it is lost."""


class Line(Protocol):
    """A connection that is opened when first used, and again after it broke."""

    def publish(self, messages: Sequence[bytes]) -> None:
        """Send `messages` to all who listen.

        Raises:
            LineDown: some may have been sent.
        """

    def listen(self) -> Iterator[bytes | None]:
        """Yield what is published from now on: None first, then also whenever nothing comes.

        Raises:
            LineDown: what is published until the next `listen` is missed.
        """

    def close(self) -> None:
        """Close the connection, if there is one."""
