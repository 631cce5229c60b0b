"""What a person is to see, asked of the tables of rows, people and territories alone.

Nothing of the engine decides here who sees what: no scopes, no entries, no paths. Only the bytes
of a row are those that the log keeps of it.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db import connection

from sync.types import RowKey

Rows = dict[RowKey, tuple[int, bytes]]  # version, and its JSON as it is sent

_SEEN = """
WITH RECURSIVE member AS (
    SELECT user_id, role, territories FROM accounts_membership
    WHERE tenant_id = %(tenant)s AND user_id = %(person)s
), held AS (
    SELECT t.id, m.role FROM territory t, member m WHERE t.tenant_id = %(tenant)s
        AND (t.id = ANY(m.territories) OR m.role IN ('dispatcher', 'admin', 'auditor'))
    UNION
    SELECT t.id, h.role FROM territory t JOIN held h ON t.parent_id = h.id
    WHERE t.tenant_id = %(tenant)s AND h.role = 'supervisor'
), sites AS (
    SELECT id, version FROM site
    WHERE tenant_id = %(tenant)s AND territory_id IN (SELECT id FROM held)
), assets AS (
    SELECT id, version FROM asset
    WHERE tenant_id = %(tenant)s AND site_id IN (SELECT id FROM sites)
), work_orders AS (
    SELECT id, version FROM work_order WHERE tenant_id = %(tenant)s
        AND (site_id IN (SELECT id FROM sites) OR assignee_id = %(person)s)
), seen AS (
    SELECT 'territories' AS collection, id, version FROM territory WHERE tenant_id = %(tenant)s
    UNION ALL SELECT 'sites', id, version FROM sites
    UNION ALL SELECT 'assets', id, version FROM assets
    UNION ALL SELECT 'work_orders', id, version FROM work_orders
    UNION ALL SELECT 'inspections', id, version FROM inspection
        WHERE tenant_id = %(tenant)s AND asset_id IN (SELECT id FROM assets)
    UNION ALL SELECT 'notes', id, version FROM note
        WHERE tenant_id = %(tenant)s AND work_order_id IN (SELECT id FROM work_orders)
    UNION ALL SELECT 'parts_used', id, version FROM part_used
        WHERE tenant_id = %(tenant)s AND work_order_id IN (SELECT id FROM work_orders)
)
SELECT s.collection, s.id::text, s.version, c.payload FROM seen s LEFT JOIN sync_change c
    ON c.tenant_id = %(tenant)s AND c.collection = s.collection AND c.row_id = s.id::text
WHERE %(collections)s::text[] IS NULL OR s.collection = ANY(%(collections)s::text[])
"""


def read_seen(tenant_id: UUID, person: UUID, collections: tuple[str, ...] = ()) -> Rows:
    """Return the rows that `person` is to see now; of some collections, or of all."""
    parameters: dict[str, Any] = {
        "tenant": tenant_id,
        "person": person,
        "collections": list(collections) or None,
    }
    with connection.cursor() as cursor:
        cursor.execute(_SEEN, parameters)
        return {
            RowKey(collection, row_id): (version, str(payload).encode())
            for collection, row_id, version, payload in cursor.fetchall()
        }
