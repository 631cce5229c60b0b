"""The statements of the floor's pulls: what a pull has to read, whoever serves it.

    WHO     is the device still welcome, what may it see, where is the feed
    PAGE    the changes between two seqs, as JSON that PostgreSQL renders
    SUMS    what there is, by buckets

A page is found in steps, so that as much is read, sorted and rendered as is sent: where it ends
is looked up in the index alone, among the first seqs of each scope (twice, where there are many);
then the range up to there is read. Scopes that are merged, sorted as a whole or joined by UNION
ALL, and rows that are rendered in Python or come by COPY, were tried: nothing was faster.
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

# The n-th of a part never comes before the n-th of all.
_NTH: Final = """
    SELECT DISTINCT e.seq FROM unnest(%(scopes)s::text[]) AS held(scope)
    CROSS JOIN LATERAL (
        SELECT seq FROM sync_entry WHERE tenant_id = %(tenant)s AND scope = held.scope
            AND seq > %(after)s AND seq <= {until} ORDER BY seq LIMIT {first}) AS e
    ORDER BY e.seq OFFSET %(limit)s - 1 LIMIT 1
"""
_NAMES: Final = "to_json(line.collection) || ',\"id\":' || to_json(line.row_id)"
_UPSERT: Final = f"""
'{{"op":"upsert","collection":' || {_NAMES} || ',"version":' || c.version
    || CASE WHEN c.device_id = %(device)s THEN ',"own":true' ELSE ',"own":false' END
    || ',"data":' || c.payload || '}}'
"""
_DELETE: Final = (
    f"""'{{"op":"delete","collection":' || {_NAMES} || ',"version":' || c.version || '}}'"""
)
_EXIT: Final = f"""'{{"op":"scope_exit","collection":' || {_NAMES} || '}}'"""

PAGE: Final = f"""
WITH rough AS MATERIALIZED (
    SELECT coalesce(({_NTH.format(until="%(until)s", first="%(few)s")}), %(until)s) AS seq
), page AS MATERIALIZED (
    SELECT coalesce(({_NTH.format(until="(SELECT seq FROM rough)", first="%(many)s")}),
        %(until)s) AS seq
), line AS MATERIALIZED (
    SELECT DISTINCT ON (e.seq) e.* FROM unnest(%(scopes)s::text[]) AS held(scope)
    CROSS JOIN LATERAL (
        SELECT seq, op, collection, row_id FROM sync_entry
        WHERE tenant_id = %(tenant)s AND scope = held.scope
            AND seq > %(after)s AND seq <= (SELECT seq FROM page)
        ORDER BY seq LIMIT %(limit)s
    ) AS e
    ORDER BY e.seq LIMIT %(limit)s
)
SELECT string_agg(json, %(border)s), (SELECT seq FROM page)
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
""".encode()

SUMS: Final[LiteralString] = """
SELECT collection, bucket, count(*), bit_xor(digest) FROM (
    SELECT DISTINCT ON (seq) collection, bucket, digest FROM sync_entry
    WHERE tenant_id = %(tenant)s AND scope = ANY(%(scopes)s::text[]) AND op = 'upsert'
) AS held GROUP BY collection, bucket ORDER BY collection, bucket
"""
