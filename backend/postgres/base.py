"""The database backend (`ENGINE`): Django's own for PostgreSQL, but for two things.

The first statement of each transaction says for which tenant it is (`cursors`). And the health
check is a glance:

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
from typing import Any

from django.db.backends.postgresql import base

from backend.postgres.creation import DatabaseCreation
from backend.postgres.cursors import (
    UNKNOWN,
    TenantCursor,
    TenantServerCursor,
    start_connection,
)

# Kept short: for so long a host that vanished silently may cost a request its time-out.
TRUSTED_S = 5.0


class DatabaseWrapper(base.DatabaseWrapper):
    """A connection of one thread."""

    creation_class = DatabaseCreation

    # Django's own; its stubs do not know them all.
    health_check_enabled: bool
    health_check_done: bool

    _used_at = float("-inf")  # monotonic seconds; when a request is known to have used it

    def get_connection_params(self) -> dict[str, Any]:
        """Return what a connection is opened with."""
        return {**super().get_connection_params(), "cursor_factory": TenantCursor}

    def init_connection_state(self) -> None:
        """Learn who owns the database, once it is known how to talk with it."""
        super().init_connection_state()
        self.connection.server_cursor_factory = TenantServerCursor
        start_connection(self.connection)

    def _savepoint_rollback(self, sid: str) -> None:
        super()._savepoint_rollback(sid)  # type: ignore[misc]  # Django's own
        self.connection.bound = UNKNOWN  # what was set since is undone too

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
