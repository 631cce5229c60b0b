"""The statements of the floor: what a push has to write, whoever serves it.

    first trip    CLAIM   NUMBERS (creates)   LOCK, STORED (updates)
    second trip   write()   COMMIT

The tables are the product's own, as its migrations make them, and the rows, changes, entries and
answers that end in them are the same: a test compares them. A batch travels as one JSON parameter,
since the driver dumps a list element by element. JSON that stands where a text column is asked for
arrives as it was written, so a row's payload needs no quoting and serves its table too.
"""

from __future__ import annotations

import functools
from collections.abc import Iterable
from typing import Final, LiteralString

CLAIM: Final[LiteralString] = """
INSERT INTO sync_request (tenant_id, holder_id, key, fingerprint, created_at)
SELECT %(tenant)s, %(device)s, %(key)s, %(fingerprint)s, %(now)s
FROM set_config('lock_timeout', '2000ms', true)
ON CONFLICT (tenant_id, holder_id, key) DO NOTHING
RETURNING id
"""

NUMBERS: Final[LiteralString] = """
INSERT INTO work_order_number AS series (tenant_id, next) VALUES (%(tenant)s, 1 + %(creates)s)
ON CONFLICT (tenant_id) DO UPDATE SET next = series.next + %(creates)s
RETURNING next - %(creates)s
"""

LOCK: Final[LiteralString] = """
SELECT id::text, version, field_versions::text FROM work_order
WHERE tenant_id = %(tenant)s AND id = ANY(%(ids)s::uuid[]) ORDER BY id FOR NO KEY UPDATE
"""

# A statement of its own, so that its snapshot is younger than the locks.
STORED: Final[LiteralString] = """
SELECT row_id, payload, scopes FROM sync_change
WHERE tenant_id = %(tenant)s AND collection = 'work_orders' AND row_id = ANY(%(ids)s::text[])
"""

KEPT: Final[LiteralString] = """
SELECT answer FROM sync_request
WHERE tenant_id = %(tenant)s AND holder_id = %(device)s AND key = %(key)s
    AND fingerprint = %(fingerprint)s
"""

# Columns that a row's JSON is read into: what they are called on the wire, and their type.
_TYPES: Final = {
    "number": "text",
    "kind": "text",
    "status": "text",
    "priority": "smallint",
    "site": "uuid",
    "asset": "uuid",
    "assignee": "uuid",
    "title": "text",
    "description": "text",
    "due_at": "timestamptz",
    "completed_at": "timestamptz",
}
_COLUMNS: Final = {"site": "site_id", "asset": "asset_id", "assignee": "assignee_id"}

_WRITE: Final = """
WITH bump AS (
    UPDATE sync_stream SET head = head + %(count)s WHERE tenant_id = %(tenant)s
    RETURNING head - %(count)s AS base
), given AS MATERIALIZED (
    SELECT bump.base + g.n AS seq, g.* FROM bump, json_to_recordset(%(rows)s::json) AS g(
        n int, id text, version bigint, field_versions jsonb, payload text, digest bigint,
        bucket smallint, scopes text[])
), {written} changed AS (
    INSERT INTO sync_change (tenant_id, collection, row_id, seq, op, version, payload, digest,
                             scopes, device_id, changed_at)
    SELECT %(tenant)s, 'work_orders', id, seq, 'upsert', version, payload, digest,
           scopes, %(device)s, %(now)s
    FROM given
    ON CONFLICT (tenant_id, collection, row_id) DO UPDATE SET
        seq = excluded.seq, op = excluded.op, version = excluded.version,
        payload = excluded.payload, digest = excluded.digest, scopes = excluded.scopes,
        device_id = excluded.device_id, changed_at = excluded.changed_at
), entered AS (
    INSERT INTO sync_entry (tenant_id, scope, collection, row_id, seq, op, digest, bucket)
    SELECT %(tenant)s, unnest(scopes), 'work_orders', id, seq, 'upsert', digest, bucket FROM given
    ON CONFLICT (tenant_id, scope, collection, row_id) DO UPDATE SET
        seq = excluded.seq, op = excluded.op, digest = excluded.digest
)
UPDATE sync_request SET status = 200, answer = %(answer)s WHERE id = %(claim)s
"""

_CREATED: Final = """created AS (
    INSERT INTO work_order (tenant_id, created_at, updated_at, id, version, field_versions,
                            {columns})
    SELECT %(tenant)s, %(now)s, %(now)s, given.id::uuid, version, field_versions, r.*
    FROM given, json_to_record(payload::json) AS r({typed}) WHERE version = 1
),"""

_UPDATED: Final = """updated AS (
    UPDATE work_order AS t SET
        version = given.version, field_versions = given.field_versions, updated_at = %(now)s,
        {assignments}
    FROM given, json_to_record(payload::json) AS r({typed})
    WHERE t.tenant_id = %(tenant)s AND t.id = given.id::uuid AND given.version > 1
),"""


@functools.cache
def write(*, has_creates: bool, edited: frozenset[str]) -> bytes:
    """Return the statement that writes a push: its rows, their changes, and the answer.

    `edited` are the fields that its updates name; no other column is written by them.
    """
    parts = []
    if has_creates:
        columns = ", ".join(_COLUMNS.get(name, name) for name in _TYPES)
        parts.append(_CREATED.format(columns=columns, typed=_typed(_TYPES)))
    if edited:
        names = sorted(edited)
        assignments = ", ".join(f"{_COLUMNS.get(name, name)} = r.{name}" for name in names)
        parts.append(_UPDATED.format(assignments=assignments, typed=_typed(names)))
    return _WRITE.format(written=" ".join(parts)).encode()


def _typed(names: Iterable[str]) -> str:
    return ", ".join(f"{name} {_TYPES[name]}" for name in names)
