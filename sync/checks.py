"""System checks: misconfiguration that would cost data is found before the first request."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from django.core.checks import CheckMessage, Error, Tags, register
from django.db import DEFAULT_DB_ALIAS, connection, connections

from sync import epochs
from sync.conf import sync_settings
from sync.pokes.lines import make_line
from sync.registry import ranked_collections

TENANTS_LISTED: Final = 10
_POSTGRESQL: Final = "postgresql"


@register(Tags.database)
def check_database(**_: Any) -> list[CheckMessage]:
    """The server's database is PostgreSQL: others ignore row locks in silence."""
    vendor = connection.vendor  # of whatever backend is built on Django's
    if vendor == _POSTGRESQL:
        return []
    return [
        Error(
            f"Fieldsync needs PostgreSQL 15 or newer, not {vendor}.",
            hint="Set DATABASE_URL=postgresql://…; SQLite ignores row locks in silence.",
            id="sync.E001",
        )
    ]


@register(Tags.database)
def check_heads(*, databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    """No feed has entries beyond its head, as when a part of a database was restored alone.

    Runs at `migrate` and `check --database default`, and costs a look at each scope's newest
    entry. What it cannot see, `sync_check` does, which reads everything.
    """
    if DEFAULT_DB_ALIAS not in (databases or ()) or connection.vendor != _POSTGRESQL:
        return []
    if not {"sync_stream", "sync_entry"} <= set(connection.introspection.table_names()):
        return []  # this is the first migration
    return [
        Error(
            f"The feed of tenant {behind.tenant_id} ends at {behind.head}, and has entries up to "
            f"{behind.newest}: no pull reaches them, and their numbers would be given once more.",
            hint=f"Run `manage.py sync_new_epoch --tenant {behind.tenant_id}`, then sync_check.",
            id="sync.E003",
        )
        for behind in epochs.list_behind()[:TENANTS_LISTED]
    ]


@register()
def check_replica(**_: Any) -> list[CheckMessage]:
    """The read replica is a database of the project, and not the primary itself."""
    alias = sync_settings().replica_alias
    if not alias or (alias in list(connections) and alias != DEFAULT_DB_ALIAS):
        return []
    return [
        Error(
            f"SYNC['REPLICA_ALIAS'] is {alias!r}, which is no read replica in DATABASES.",
            hint="Describe the replica in DATABASES under that name, or leave the setting out.",
            id="sync.E005",
        )
    ]


@register()
def check_collections(**_: Any) -> list[CheckMessage]:
    """Every collection compiles, and its parent is one of its references."""
    found: list[CheckMessage] = []
    for name, collection in ranked_collections().items():
        if collection.parent and collection.parent_collection is None:
            found.append(
                Error(
                    f"collection {name!r}: parent {collection.parent!r} is no reference field.",
                    hint="Name the TenantForeignKey whose row hands its scopes down.",
                    id="sync.E002",
                )
            )
    return found


@register()
def check_pokes(**_: Any) -> list[CheckMessage]:
    """The line that pokes travel on can be made: its address is known, its client installed."""
    try:
        line = make_line()
    except (ValueError, ImportError) as error:
        hint = "Set SYNC['POKE_URL'] to a Redis URL, to 'postgresql:', or to ''."
        return [Error(f"Pokes have no line: {error}.", hint=hint, id="sync.E004")]
    if line is not None:
        line.close()
    return []
