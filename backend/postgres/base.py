"""The database backend (`ENGINE`): Django's own for PostgreSQL, but for the health check.

    first statement of a request -> used a moment ago, and silent since?  yes -> go on
                                    `- no -> SELECT 1, and a new connection if that fails

Django asks `SELECT 1` before the first statement of every request: a round trip, and a fifth of
what a pull with nothing new costs. But PostgreSQL never speaks first to an idle session except to
say something like "terminating connection due to administrator command"; and whoever hangs up, or
dies, makes the socket readable too. So a glance at the socket tells as much, of a connection that
was used a moment ago. After that a host may have vanished without a word, and is asked.
"""

from __future__ import annotations

import select
import time

from django.db.backends.postgresql import base

# Kept short: for so long a host that vanished silently may cost a request its time-out.
TRUSTED_S = 5.0


class DatabaseWrapper(base.DatabaseWrapper):
    """A connection of one thread."""

    # Django's own; its stubs do not know them all.
    health_check_enabled: bool
    health_check_done: bool

    _used_at = float("-inf")  # monotonic seconds; when a request is known to have used it

    def close_if_unusable_or_obsolete(self) -> None:
        """Look after the connection between requests."""
        if self.health_check_done:  # since the last time, a request has used it
            self._used_at = time.monotonic()
        super().close_if_unusable_or_obsolete()

    def close_if_health_check_failed(self) -> None:
        """Close a connection that is not in order, once a request, before its first statement."""
        if self.connection is None or self.health_check_done or not self.health_check_enabled:
            return
        if self._was_used_just_now() and self._is_silent():
            self.health_check_done = True
            return
        super().close_if_health_check_failed()

    def _was_used_just_now(self) -> bool:
        return time.monotonic() - self._used_at < TRUSTED_S

    def _is_silent(self) -> bool:
        """Whether the server has neither said anything nor hung up."""
        if self.connection.closed:
            return False
        poller = select.poll()  # unlike select(), it takes any number of a socket
        poller.register(self.connection.pgconn.socket, select.POLLIN)
        return not poller.poll(0)
