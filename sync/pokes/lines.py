"""What pokes travel on between processes: a line to Redis, or to PostgreSQL itself.

    make_line() -> RedisLine | PostgresLine | None       as `SYNC["POKE_URL"]` says

All processes share one channel. One for each tenant would have to be joined and left as devices
come and go, and each join is a moment in which pokes are missed; what a process need not hear is a
few hundred bytes, at most 20 times a second from each process that writes.
"""

from __future__ import annotations

from sync.conf import sync_settings
from sync.pokes.line import Line

REDIS = ("redis://", "rediss://", "unix://")
POSTGRES = "postgresql:"


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
