"""The statements of the floor's pulls: what a pull has to read, whoever serves it.

    WHO     is the device still welcome, what may it see, where is the feed
    PAGE    the changes between two seqs, as JSON that PostgreSQL renders
    SUMS    what there is, by buckets

A page is found in two steps, so that as much is read, sorted and rendered as is sent: where it
ends is looked up in the index alone, among the first seqs of each scope; then the range up to
there is read. It was compared with scopes that are merged, sorted as a whole, or joined by UNION
ALL, and with rows that are rendered in Python or come by COPY: nothing was faster.
"""

from __future__ import annotations

from typing import Final, LiteralString

WHO: Final[LiteralString] = """
SELECT ARRAY['tenant', 'user:' || m.user_id]
        || ARRAY(SELECT 'territory:' || t FROM unnest(m.territories) AS t),
    s.epoch::text, s.head
FROM accounts_membership AS m
JOIN accounts_user AS u ON u.id = m.user_id
JOIN accounts_tenant AS t ON t.id = m.tenant_id
JOIN accounts_device AS d
    ON d.id = %(device)s AND d.user_id = m.user_id AND d.tenant_id = m.tenant_id
JOIN sync_stream AS s ON s.tenant_id = m.tenant_id
WHERE m.tenant_id = %(tenant)s AND m.user_id = %(user)s
    AND m.is_active AND u.is_active AND t.is_active AND d.revoked_at IS NULL
"""

_OF_SCOPE: Final[LiteralString] = """
    SELECT seq FROM sync_entry WHERE tenant_id = %(tenant)s AND scope = held.scope
        AND seq > %(after)s AND seq <= %(until)s ORDER BY seq
"""
_NAMES: Final[LiteralString] = "to_json(line.collection) || ',\"id\":' || to_json(line.row_id)"
_UPSERT: Final[LiteralString] = f"""
'{{"op":"upsert","collection":' || {_NAMES} || ',"version":' || c.version
    || CASE WHEN c.device_id = %(device)s THEN ',"own":true' ELSE ',"own":false' END
    || ',"data":' || c.payload || '}}'
"""
_DELETE: Final[LiteralString] = (
    f"""'{{"op":"delete","collection":' || {_NAMES} || ',"version":' || c.version || '}}'"""
)
_EXIT: Final[LiteralString] = f"""'{{"op":"scope_exit","collection":' || {_NAMES} || '}}'"""

PAGE: Final[LiteralString] = f"""
WITH first AS MATERIALIZED (
    SELECT held.scope, e.seq FROM unnest(%(scopes)s::text[]) AS held(scope)
    CROSS JOIN LATERAL ({_OF_SCOPE} LIMIT %(few)s) AS e
), bound AS MATERIALIZED (
    SELECT coalesce(
        (SELECT DISTINCT seq FROM first ORDER BY seq OFFSET %(limit)s - 1 LIMIT 1),
        (SELECT DISTINCT e.seq FROM (
            SELECT scope FROM first GROUP BY scope HAVING count(*) = %(few)s) AS held
        CROSS JOIN LATERAL ({_OF_SCOPE} LIMIT %(limit)s) AS e
        ORDER BY e.seq OFFSET %(limit)s - 1 LIMIT 1),
        %(until)s) AS seq
), line AS MATERIALIZED (
    SELECT DISTINCT ON (seq) seq, op, collection, row_id FROM sync_entry
    WHERE tenant_id = %(tenant)s AND scope = ANY(%(scopes)s::text[])
        AND seq > %(after)s AND seq <= (SELECT seq FROM bound)
    ORDER BY seq LIMIT %(limit)s
)
SELECT string_agg(json, %(border)s), count(json), count(*), max(seq), (SELECT seq FROM bound)
FROM (
    SELECT line.seq, CASE
        WHEN line.op = 'upsert' THEN {_UPSERT}
        WHEN line.seq <= %(live_until)s THEN NULL
        WHEN line.op = 'delete' THEN {_DELETE}
        ELSE {_EXIT}
    END AS json
    FROM line LEFT JOIN LATERAL (
        SELECT version, payload, device_id FROM sync_change
        WHERE tenant_id = %(tenant)s AND collection = line.collection AND row_id = line.row_id
        LIMIT 1
    ) AS c ON true ORDER BY line.seq
) AS told
"""

SUMS: Final[LiteralString] = """
SELECT collection, bucket, count(*), bit_xor(digest) FROM (
    SELECT DISTINCT ON (seq) collection, bucket, digest FROM sync_entry
    WHERE tenant_id = %(tenant)s AND scope = ANY(%(scopes)s::text[]) AND op = 'upsert'
) AS held GROUP BY collection, bucket ORDER BY collection, bucket
"""
