"""System checks of the database itself: `manage.py check --deploy --database default`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning as Caution, register
from django.db import DEFAULT_DB_ALIAS, connection

from backend.health.deployment import count_workers
from sync.conf import sync_settings

VERSION_MIN: Final = 15
COMMANDS: Final = 5  # sessions that are left for commands, backups and people
# What a crash, or a power cut, must not find off; with what it costs.
DURABLE: Final = {
    "fsync": "a power cut may destroy the whole database",
    "full_page_writes": "a power cut may destroy pages",
    "synchronous_commit": "a crash loses pushes that phones were told are safe",
}

_FACTS: Final = """
SELECT current_setting('server_version_num')::int / 10000,
    pg_encoding_to_char((SELECT encoding FROM pg_database WHERE datname = current_database())),
    current_setting('max_connections')::int
        - current_setting('superuser_reserved_connections')::int,
    (SELECT rolsuper OR rolbypassrls FROM pg_roles WHERE rolname = session_user),
    (SELECT pg_get_userbyid(datdba) = session_user FROM pg_database
        WHERE datname = current_database())
"""
_SETTING: Final = "SELECT current_setting(%s)"


@register(Tags.database, deploy=True)
def check_database_setup(
    *, databases: Sequence[str] | None = None, **_: Any
) -> list[CheckMessage]:
    """The database keeps what it acknowledged, has room for all threads, and is bound."""
    if DEFAULT_DB_ALIAS not in (databases or ()):
        return []
    ((version, encoding, sessions, is_above, is_owner),) = _ask(_FACTS)
    is_unbound = is_above or is_owner
    facts = judge(version=version, encoding=encoding, is_unbound=is_unbound)
    return [*facts, *_durable(), *_sessions(sessions)]


def judge(*, version: int, encoding: str, is_unbound: bool) -> list[CheckMessage]:
    """Return what is wrong with a server's major version, encoding, and the role that logs in."""
    found: list[CheckMessage] = []
    if version < VERSION_MIN:
        found.append(
            Error(
                f"PostgreSQL {version} is too old.",
                hint=f"Use PostgreSQL {VERSION_MIN} or newer.",
                id="fieldsync.E010",
            )
        )
    if encoding != "UTF8":
        found.append(
            Error(
                f"The database's encoding is {encoding}: what people write does not fit in.",
                hint="Make it anew with ENCODING 'UTF8'.",
                id="fieldsync.E011",
            )
        )
    if is_unbound:
        found.append(
            Caution(
                "The server logs in as a role that row-level security does not bind: the second "
                "line between tenants is missing.",
                hint="Log in as a role that owns nothing (docs/settings.md).",
                id="fieldsync.W010",
            )
        )
    return found


def _durable() -> list[CheckMessage]:
    return [
        Error(
            f"{name} is off: {cost}.",
            hint=f"Set {name} = on in postgresql.conf, or on the database.",
            id="fieldsync.E012",
        )
        for name, cost in DURABLE.items()
        if _ask(_SETTING, [name]) == [("off",)]
    ]


def _sessions(sessions: int) -> list[CheckMessage]:
    if not settings.PREPARE_STATEMENTS:
        return []  # behind a pooler, sessions are its own affair
    by_pokes = 2 if sync_settings().poke_url.startswith("postgresql:") else 0
    needed = count_workers() * (settings.WORKER_THREADS + 1 + by_pokes) + COMMANDS
    if needed <= sessions:
        return []
    return [
        Error(
            f"This server alone may need {needed} sessions, and PostgreSQL has {sessions}: some "
            "requests would find none.",
            hint="Raise max_connections, lower WORKER_THREADS or WEB_CONCURRENCY, or put "
            "PgBouncer in between (docs/deploy.md).",
            id="fieldsync.E013",
        )
    ]


def _ask(sql: str, parameters: list[Any] | None = None) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters or [])
        found: list[tuple[Any, ...]] = cursor.fetchall()
    return found
