"""What pokes travel on between processes: a line to Redis, or to PostgreSQL itself.

    make_line() -> RedisLine | PostgresLine | None       as `SYNC["POKE_URL"]` says

All processes share one channel. One for each tenant would have to be joined and left as devices
come and go, and each join is a moment in which pokes are missed; what a process need not hear is a
few hundred bytes, at most 20 times a second from each process that writes.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from typing import Protocol

from sync.conf import sync_settings

SILENCE_S = 1.0  # how often a listener looks up from the line
PROVE_S = 15.0  # after so much silence the other end is asked whether it is there
COMPLAIN_S = 60.0
REDIS = ("redis://", "rediss://", "unix://")
POSTGRES = "postgresql:"


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


def make_line() -> Line | None:
    """Return the line that the settings name, not opened yet; None if they want none.

    Raises:
        ValueError: they name something else.
    """
    settings = sync_settings()
    url, channel = settings.poke_url, settings.poke_channel
    if not url:
        return None
    if url.startswith(REDIS):
        from sync.pokes.redis_line import RedisLine  # a project without Redis has no client for it

        return RedisLine(url, channel)
    if url == POSTGRES:
        from sync.pokes.postgres_line import PostgresLine

        return PostgresLine(channel)
    message = f"POKE_URL must be empty, {POSTGRES!r}, or start with {' or '.join(REDIS)}"
    raise ValueError(message)
