"""Tombstones: what the feed keeps of rows that are gone, until every device should have heard it.

    list_old   per tenant the mark: the newest seq up to which all is older than a time
    prune      one transaction [ lock the stream -> delete the oldest lines up to the mark,
               raise the floor to the newest of them ]

A row that is gone leaves its change (`delete`) and an entry in each of its scopes; one that left a
scope leaves an entry there (`scope_exit`). All of these go, lowest seqs first, and the floor goes
with them in the same statement: however a prune ends, a cursor at or above the floor has read all
that is missing, and one below it is refused.

The stream's lock comes first, as in a push: whoever writes to the log holds it, so nothing that is
deleted here can be waited for in a circle, or be written again meanwhile.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

from django.db import connection

from sync import changelog
from sync.wire import encode

if TYPE_CHECKING:
    import datetime
    from uuid import UUID

# Seqs and times run together but for the moments between a push's start and its COMMIT, and for
# clocks that are wrong. So the mark stays below the first change that is young enough to be kept;
# one from the future is no reason to keep all that comes behind it.
_MARKS = """
WITH young AS (
    SELECT tenant_id, min(seq) AS seq FROM sync_change
    WHERE changed_at >= %(before)s AND changed_at <= statement_timestamp() GROUP BY tenant_id
), mark AS (
    SELECT c.tenant_id, least(max(c.seq), max(s.head)) AS until
    FROM sync_change c JOIN sync_stream s USING (tenant_id) LEFT JOIN young USING (tenant_id)
    WHERE c.changed_at < %(before)s AND (young.seq IS NULL OR c.seq < young.seq)
    GROUP BY c.tenant_id
), buried AS (
    SELECT c.tenant_id, count(*) AS lines FROM sync_change c JOIN mark USING (tenant_id)
    WHERE c.op = 'delete' AND c.seq <= mark.until GROUP BY c.tenant_id
), told AS (
    SELECT e.tenant_id, count(*) AS lines FROM sync_entry e JOIN mark USING (tenant_id)
    WHERE e.op <> 'upsert' AND e.seq <= mark.until GROUP BY e.tenant_id
)
SELECT tenant_id, until, coalesce(buried.lines, 0) + coalesce(told.lines, 0)
FROM mark LEFT JOIN buried USING (tenant_id) LEFT JOIN told USING (tenant_id)
WHERE buried.lines > 0 OR told.lines > 0 ORDER BY tenant_id
"""
_IS_TOLD = """
SELECT EXISTS (SELECT FROM sync_entry
    WHERE tenant_id = %(tenant)s AND op <> 'upsert' AND seq <= %(until)s)
"""
_RAISE = """
UPDATE sync_stream SET floor = greatest(floor, (SELECT max(seq) FROM gone))
WHERE tenant_id = %(tenant)s AND EXISTS (SELECT FROM gone)
"""
# An exit comes before the deletion of its row, if there is one: in order of seq, no entry is left
# without its change. The inner LIMIT keeps each key an index look-up, whatever the statistics say.
_PRUNE_TOLD = f"""
WITH cut AS (
    SELECT max(seq) AS seq FROM (
        SELECT seq FROM sync_entry
        WHERE tenant_id = %(tenant)s AND op <> 'upsert' AND seq <= %(until)s
        ORDER BY seq LIMIT %(rows)s) AS oldest
), gone AS (
    DELETE FROM sync_entry e USING cut
    WHERE e.tenant_id = %(tenant)s AND e.op <> 'upsert' AND e.seq <= cut.seq
    RETURNING e.collection, e.row_id, e.seq
), buried AS (
    DELETE FROM sync_change WHERE ctid = ANY(ARRAY(
        SELECT c.at FROM (SELECT DISTINCT collection, row_id FROM gone) AS named
        CROSS JOIN LATERAL (
            SELECT ctid AS at, op, seq FROM sync_change
            WHERE tenant_id = %(tenant)s
                AND collection = named.collection AND row_id = named.row_id
            LIMIT 1
        ) AS c
        WHERE c.op = 'delete' AND c.seq <= (SELECT seq FROM cut)))
    RETURNING 1
), raised AS ({_RAISE})
SELECT (SELECT count(*) FROM gone) + (SELECT count(*) FROM buried)
"""  # noqa: S608  # constants
_UNTOLD = """
SELECT collection, row_id FROM sync_change
WHERE tenant_id = %(tenant)s AND op = 'delete' AND seq <= %(until)s
ORDER BY collection, row_id LIMIT %(rows)s
"""
_PRUNE_UNTOLD = f"""
WITH gone AS (
    DELETE FROM sync_change c
    USING json_to_recordset(%(keys)s::json) AS named(collection text, row_id text)
    WHERE c.tenant_id = %(tenant)s AND c.op = 'delete' AND c.seq <= %(until)s
        AND c.collection = named.collection AND c.row_id = named.row_id
    RETURNING c.seq
), raised AS ({_RAISE})
SELECT count(*) FROM gone
"""  # noqa: S608  # constants


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Old:
    """What of a tenant's feed is too old: the lines up to a seq, of changes and entries."""

    tenant_id: UUID
    until: int
    lines: int


def list_old(before: datetime.datetime) -> list[Old]:
    """Return for each tenant what the feed tells of rows that were gone before `before`.

    Reads the changes of all tenants: there is no index by time, which would cost every edit more
    than it saves a nightly prune.
    """
    with connection.cursor() as cursor:
        cursor.execute(_MARKS, {"before": before})
        return [
            Old(tenant_id=tenant_id, until=until, lines=lines)
            for tenant_id, until, lines in cursor.fetchall()
        ]


def prune(old: Old, rows_max: int) -> int:
    """Delete the oldest `rows_max` entries or so of what `old` names, and the changes behind them.

    Returns how many lines are gone; 0 when nothing is left. The floor is raised to the newest of
    them. Call it in a transaction of its own: it holds the stream's lock.
    """
    parameters: dict[str, Any] = {
        "tenant": old.tenant_id,
        "until": old.until,
        "rows": rows_max,
    }
    if _ask(_IS_TOLD, parameters):
        changelog.lock_stream(old.tenant_id)
        return int(_ask(_PRUNE_TOLD, parameters))
    return _prune_untold(old, parameters)


def _prune_untold(old: Old, parameters: dict[str, Any]) -> int:
    """Delete tombstones of rows that were in no scope: no entry leads to them.

    They are looked for before the stream is locked, since that reads all of the tenant's changes.
    """
    with connection.cursor() as cursor:
        cursor.execute(_UNTOLD, parameters)
        keys = [{"collection": name, "row_id": row_id} for name, row_id in cursor.fetchall()]
    if not keys:
        return 0
    changelog.lock_stream(old.tenant_id)
    return int(_ask(_PRUNE_UNTOLD, parameters | {"keys": encode(keys).decode()}))


def _ask(sql: str, parameters: dict[str, Any]) -> Any:
    """Return the one value that a statement answers."""
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        (value,) = cursor.fetchone()
        return value
