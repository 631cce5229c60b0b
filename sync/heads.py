"""How far feeds go, asked for many tenants or scopes at once: what those who wait need to know.

Two index look-ups a tenant or scope, whatever the size of the feed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db import connection

from sync.row_security import every_tenant, for_tenant

if TYPE_CHECKING:
    from uuid import UUID

_HEADS = "SELECT tenant_id, epoch, head FROM sync_stream WHERE tenant_id = ANY(%s)"
_NEWEST = """
SELECT held.scope, e.seq FROM unnest(%(scopes)s::text[]) AS held(scope)
CROSS JOIN LATERAL (
    SELECT seq FROM sync_entry
    WHERE tenant_id = %(tenant)s AND scope = held.scope AND seq > %(after)s
    ORDER BY seq DESC LIMIT 1
) AS e
"""


class Head(NamedTuple):
    """How far one tenant's feed goes, and of which history it is."""

    epoch: UUID
    head: int


def read_heads(tenant_ids: Collection[UUID]) -> dict[UUID, Head]:
    """Return the heads of these tenants; one that has no feed yet is left out."""
    with every_tenant(), connection.cursor() as cursor:
        cursor.execute(_HEADS, [list(tenant_ids)])
        return {tenant_id: Head(epoch, head) for tenant_id, epoch, head in cursor.fetchall()}


def read_head(tenant_id: UUID) -> int:
    """Return how far the tenant's feed goes; 0 if it has none yet."""
    found = read_heads([tenant_id]).get(tenant_id)
    return found.head if found else 0


def read_newest(tenant_id: UUID, scopes: Iterable[str], after: int) -> dict[str, int]:
    """Return the seq of the newest change of each of `scopes` that has one above `after`."""
    parameters: dict[str, Any] = {"tenant": tenant_id, "scopes": list(scopes), "after": after}
    with for_tenant(tenant_id), connection.cursor() as cursor:
        cursor.execute(_NEWEST, parameters)
        return dict(cursor.fetchall())
