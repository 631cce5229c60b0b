"""Rows that are there to pull: written into the log by SQL, as if they had been pushed long ago.

    room    the head goes on by as many seqs as there will be rows; who pulls now has read them all
    fill    changes and entries with these seqs: payloads, checksums, buckets, scopes
    touch   some rows change once more, and get the next seqs

Only the log is filled, since a pull reads nothing else. What the rows say comes from `workload`,
so that they are as long and as hard to compress as rows that are pushed.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from typing import Any, Final, LiteralString

import psycopg

from loadtests.bench import floor_rows, workload
from loadtests.bench.pulls import Held
from loadtests.bench.workload import Sender

Connection = psycopg.Connection[tuple[Any, ...]]

TEXTS_MAX: Final = 20_000  # rows differ for longer than any packer looks back; a multiple of 4
BATCH_ROWS: Final = 100_000  # a statement; it keeps in memory what it writes
EPOCH_MS: Final = 1_750_000_000_000  # of the first id; each next one is a millisecond later

_TEXT_TABLE: Final[LiteralString] = """
CREATE TEMPORARY TABLE IF NOT EXISTS bench_text (n int PRIMARY KEY, text text, is_mine bool)
"""
_COPY_TEXTS: Final[LiteralString] = "COPY bench_text (n, text, is_mine) FROM STDIN"

_ROOM: Final[LiteralString] = """
UPDATE sync_stream SET head = head + %(rows)s WHERE tenant_id = %(tenant)s
RETURNING head - %(rows)s
"""

_FILL: Final[LiteralString] = """
WITH row AS (
    SELECT %(base)s + number.n AS seq,
        left(at, 8) || '-' || right(at, 4) || '-7' || substr(gen_random_uuid()::text, 16) AS id,
        '{"number":"WO-' || lpad(number.n::text, 7, '0') || '",' || t.text AS payload,
        ARRAY['territory:' || (%(territories)s::text[])[1 + number.n %% %(dealt_to)s]]
            || CASE WHEN t.is_mine THEN ARRAY['user:' || %(user)s::text] END AS scopes
    FROM generate_series(%(first)s::int, %(last)s::int) AS number(n)
    CROSS JOIN LATERAL (SELECT lpad(to_hex(%(epoch_ms)s + number.n), 12, '0') AS at) AS time
    JOIN bench_text AS t ON t.n = number.n %% %(texts)s
), changed AS (
    INSERT INTO sync_change (tenant_id, collection, row_id, seq, op, version, payload, digest,
                             scopes, device_id, changed_at)
    SELECT %(tenant)s, 'work_orders', id, seq, 'upsert', 1, payload, (
            'x' || encode(substr(sha256(convert_to(id || E'\\n1\\n' || payload, 'UTF8')), 1, 8),
                          'hex'))::bit(64)::bigint,
        scopes, NULL, now()
    FROM row
    RETURNING row_id, seq, digest, scopes
)
INSERT INTO sync_entry (tenant_id, scope, collection, row_id, seq, op, digest, bucket)
SELECT %(tenant)s, unnest(scopes), 'work_orders', row_id, seq, 'upsert', digest,
    get_byte(sha256(convert_to(row_id, 'UTF8')), 0)
FROM changed
"""

_TOUCH: Final[LiteralString] = """
WITH bump AS (
    UPDATE sync_stream SET head = head + cardinality(%(seqs)s::bigint[])
    WHERE tenant_id = %(tenant)s
    RETURNING head - cardinality(%(seqs)s::bigint[]) AS base
), picked AS (
    SELECT row_id, base + row_number() OVER (ORDER BY seq) AS seq FROM bump, (
        SELECT DISTINCT row_id, seq FROM sync_entry
        WHERE tenant_id = %(tenant)s AND scope = ANY(%(scopes)s::text[])
            AND seq = ANY(%(seqs)s::bigint[])
    ) AS old
), changed AS (
    UPDATE sync_change AS c SET seq = picked.seq, version = 2, digest = (
        'x' || encode(substr(sha256(
            convert_to(c.row_id || E'\\n2\\n' || payload, 'UTF8')), 1, 8), 'hex')
    )::bit(64)::bigint
    FROM picked WHERE c.tenant_id = %(tenant)s AND collection = 'work_orders'
        AND c.row_id = picked.row_id
    RETURNING c.row_id, c.seq, c.digest
)
UPDATE sync_entry AS e SET seq = changed.seq, digest = changed.digest
FROM changed WHERE tenant_id = %(tenant)s AND collection = 'work_orders'
    AND e.row_id = changed.row_id AND scope = ANY(%(scopes)s::text[])
"""

_HELD: Final[LiteralString] = """
SELECT collection, count(*), bit_xor(digest) FROM (
    SELECT DISTINCT ON (seq) collection, digest FROM sync_entry
    WHERE tenant_id = %(tenant)s AND scope = ANY(%(scopes)s::text[]) AND seq > %(after)s
        AND op = 'upsert'
) AS row GROUP BY collection
"""


def make_room(connection: Connection, tenant: str, rows: int) -> int:
    """Move the tenant's head by `rows`; return where it was, for `fill`."""
    found = connection.execute(_ROOM, {"tenant": tenant, "rows": rows}).fetchone()
    if found is None:
        message = f"tenant {tenant} has no feed yet"
        raise ValueError(message)
    return int(found[0])


def fill(
    connection: Connection, sender: Sender, rng: random.Random, *, base: int, rows: int
) -> None:
    """Write `rows` changes from seq `base` + 1 on, dealt to the sender's territories in turn.

    Every fourth is in the scope of the sender's user as well.
    """
    texts = min(rows, TEXTS_MAX)
    connection.execute(_TEXT_TABLE)
    connection.execute("TRUNCATE bench_text")
    with connection.cursor() as cursor, cursor.copy(_COPY_TEXTS) as copy:
        for n in range(texts):
            row = floor_rows.Row(**workload.work_order(sender, rng, n))
            text = floor_rows.encode(row).decode().removeprefix('{"number":"",')
            copy.write_row((n, text, row.assignee is not None))
    given = {
        "tenant": sender.tenant,
        "user": sender.user,
        "territories": list(sender.territories),
        "dealt_to": len(sender.territories),
        "base": base,
        "texts": texts,
        "epoch_ms": EPOCH_MS,
    }
    for first in range(1, rows + 1, BATCH_ROWS):
        last = min(rows, first + BATCH_ROWS - 1)
        connection.execute(_FILL, {**given, "first": first, "last": last})


def touch(connection: Connection, sender: Sender, *, seqs: Sequence[int]) -> None:
    """Let the rows with these seqs change once more."""
    given = {"tenant": sender.tenant, "scopes": sender.scopes, "seqs": list(seqs)}
    connection.execute(_TOUCH, given)


def read_held(connection: Connection, sender: Sender, *, after: int = 0) -> dict[str, Held]:
    """Return what the sender holds of each collection, or what of it has changed since `after`."""
    given = {"tenant": sender.tenant, "scopes": sender.scopes, "after": after}
    return {
        collection: Held(rows=rows, checksum=checksum)
        for collection, rows, checksum in connection.execute(_HELD, given).fetchall()
    }


def total(held: Collection[Held]) -> Held:
    """Return the sum of these."""
    checksum = 0
    for each in held:
        checksum ^= each.checksum
    return Held(rows=sum(each.rows for each in held), checksum=checksum)
