"""System checks: misconfiguration that would cost data is found before the first request."""

from __future__ import annotations

from typing import Any

from django.core.checks import CheckMessage, Error, Tags, register
from django.db import connection

from sync.pokes.lines import make_line
from sync.registry import ranked_collections


@register(Tags.database)
def check_database(**_: Any) -> list[CheckMessage]:
    """The server's database is PostgreSQL: others ignore row locks in silence."""
    vendor = connection.vendor  # of whatever backend is built on Django's
    if vendor == "postgresql":
        return []
    return [
        Error(
            f"Fieldsync needs PostgreSQL 15 or newer, not {vendor}.",
            hint="Set DATABASE_URL=postgresql://…; SQLite ignores row locks in silence.",
            id="sync.E001",
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
        return [Error(f"Pokes have no line: {error}.", hint=hint, id="sync.E003")]
    if line is not None:
        line.close()
    return []
