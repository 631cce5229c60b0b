"""Do the tables tell one story? Rows, their nested rows, changes, entries, stream and receipts.

Asked in SQL from outside, so that it holds for any database, whoever wrote to it and died.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any
from uuid import UUID

from sync.registry import Collection, ranked_collections

Query = Callable[[str, Sequence[Any]], list[tuple[Any, ...]]]
COMPARED_TYPES = ("text", "character", "varchar", "uuid", "smallint", "integer", "bigint")

_UNLOGGED = """
SELECT coalesce(r.id::text, c.row_id), r.version, c.version FROM
  (SELECT * FROM {table} WHERE tenant_id = %s) AS r FULL JOIN
  (SELECT * FROM sync_change WHERE tenant_id = %s AND collection = %s AND op = 'upsert') AS c
  ON r.id::text = c.row_id
WHERE r.version IS DISTINCT FROM c.version
"""
_OTHER_VALUE = """
SELECT c.row_id, c.payload::jsonb ->> %s, r.{column} FROM {table} r JOIN sync_change c
  ON c.tenant_id = r.tenant_id AND c.collection = %s AND c.row_id = r.id::text
WHERE r.tenant_id = %s AND c.payload::jsonb ->> %s IS DISTINCT FROM r.{column}::text
"""
_OTHER_CHILDREN = """
SELECT c.row_id FROM sync_change c
WHERE c.tenant_id = %s AND c.collection = %s AND c.op = 'upsert'
  AND jsonb_array_length(c.payload::jsonb -> %s) <>
    (SELECT count(*) FROM {table} n WHERE n.tenant_id = c.tenant_id AND n.{parent}::text = c.row_id)
"""
_FIELD_AHEAD = """
SELECT id, version, field_versions FROM {table} WHERE tenant_id = %s
  AND EXISTS (SELECT FROM jsonb_each(field_versions) WHERE value::bigint > version)
"""
_NO_ENTRY = """
SELECT c.collection, c.row_id, held.scope, c.seq, e.seq FROM sync_change c
CROSS JOIN LATERAL unnest(c.scopes) AS held(scope)
LEFT JOIN sync_entry e ON e.tenant_id = c.tenant_id AND e.scope = held.scope
  AND e.collection = c.collection AND e.row_id = c.row_id
WHERE c.tenant_id = %s AND (e.seq, e.op) IS DISTINCT FROM (c.seq, c.op)
"""
_NO_CHANGE = """
SELECT e.scope, e.collection, e.row_id, e.op FROM sync_entry e LEFT JOIN sync_change c
  ON c.tenant_id = e.tenant_id AND c.collection = e.collection AND c.row_id = e.row_id
WHERE e.tenant_id = %s
  AND (c.row_id IS NULL OR (e.op = 'scope_exit') = (e.scope = ANY(c.scopes)))
"""
_OTHER_SUM = """
SELECT e.scope, e.collection, e.row_id, e.digest, c.digest, e.bucket FROM sync_entry e
JOIN sync_change c ON c.tenant_id = e.tenant_id AND c.collection = e.collection
  AND c.row_id = e.row_id
WHERE e.tenant_id = %s AND (
  e.bucket <> get_byte(sha256(convert_to(e.row_id, 'UTF8')), 0)
  OR e.op <> 'scope_exit' AND e.digest <> c.digest)
"""
_SEQ_TWICE = """
SELECT seq, count(*) FROM sync_change WHERE tenant_id = %s GROUP BY seq HAVING count(*) > 1
"""
_HEAD_OFF = """
SELECT head, newest FROM sync_stream s, LATERAL (
  SELECT coalesce(max(seq), 0) AS newest FROM sync_change c WHERE c.tenant_id = s.tenant_id) AS c
WHERE s.tenant_id = %s AND head <> greatest(newest, floor)
"""
_UNANSWERED = "SELECT key FROM sync_request WHERE tenant_id = %s AND status IS NULL"

LAWS = {
    "a row without its entry in a scope": _NO_ENTRY,
    "an entry that no change explains": _NO_CHANGE,
    "an entry with another digest than its change": _OTHER_SUM,
    "two changes with one seq": _SEQ_TWICE,
    "the head is not the newest seq": _HEAD_OFF,
    "a key without an answer": _UNANSWERED,
}


def disagreements(query: Query, tenant_id: UUID) -> list[str]:
    """Return what contradicts what in a tenant's tables; nothing when all is well."""
    found = [f"{law}: {line}" for law, sql in LAWS.items() for line in query(sql, [tenant_id])]
    for collection in ranked_collections().values():
        found += _of_collection(query, tenant_id, collection)
    return found


def snapshot(query: Query, tenant_id: UUID) -> dict[str, list[str]]:
    """Return all that the database holds of a tenant as text, without when devices were seen."""
    tables = query(
        "SELECT c.table_name FROM information_schema.columns c WHERE c.column_name = 'tenant_id'"
        " AND c.table_schema = current_schema() AND c.table_name NOT LIKE %s ORDER BY 1",
        ["%device%"],
    )
    return {
        table: [
            line
            for (line,) in query(
                f'SELECT t::text FROM "{table}" t WHERE tenant_id = %s ORDER BY 1', [tenant_id]
            )
        ]
        for (table,) in tables
    }


def _of_collection(query: Query, tenant_id: UUID, collection: Collection) -> Iterator[str]:
    name, table = collection.name, f'"{collection.table}"'
    for line in query(_UNLOGGED.format(table=table), [tenant_id, tenant_id, name]):
        yield f"{name}: a row whose version the log does not have: {line}"
    for line in query(_FIELD_AHEAD.format(table=table), [tenant_id]):
        yield f"{name}: a field that is newer than its row: {line}"
    for spec in collection.fields:
        if spec.pg_type.startswith(COMPARED_TYPES):
            sql = _OTHER_VALUE.format(table=table, column=f'"{spec.column}"')
            for line in query(sql, [spec.name, name, tenant_id, spec.name]):
                yield f"{name}.{spec.name}: the row and the log differ: {line}"
    for nested in collection.nested:
        children = f'"{nested.model._meta.db_table}"'
        sql = _OTHER_CHILDREN.format(table=children, parent=f'"{nested.parent.column}"')
        for line in query(sql, [tenant_id, name, nested.name]):
            yield f"{name}.{nested.name}: another number than the log has: {line}"
