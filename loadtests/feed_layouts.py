"""Two layouts of the feed, the same work on each: which one is cheaper?

    narrow  a row's JSON once in one table, a narrow line per scope in another, joined on reading
    wide    one table with the JSON in every scope's line

python -m backend.devstack run -- .venv/bin/python loadtests/feed_layouts.py
"""

from __future__ import annotations

import json
import os
import random
import statistics
import time
import uuid
from typing import Any, LiteralString

import psycopg

ROWS, BATCH_ROWS, PAGE_ROWS, ROUNDS = 20_000, 500, 1_000, 3
PAYLOAD = json.dumps({"text": "x" * 1_000})
TENANT = uuid.uuid4()

TABLES: LiteralString = """
DROP TABLE IF EXISTS l_head, l_change, l_entry, l_wide;
CREATE TABLE l_head (t uuid PRIMARY KEY, head bigint) WITH (fillfactor = 20);
CREATE TABLE l_change (t uuid, c text, r text, seq bigint, op text, v bigint, payload text,
                       PRIMARY KEY (t, c, r));
CREATE TABLE l_entry (t uuid, s text, c text, r text, seq bigint, op text,
                      PRIMARY KEY (t, s, c, r));
CREATE INDEX ON l_entry (t, s, seq);
CREATE TABLE l_wide (t uuid, s text, c text, r text, seq bigint, op text, v bigint, payload text,
                     PRIMARY KEY (t, s, c, r));
CREATE INDEX ON l_wide (t, s, seq);
"""
BUMP: LiteralString = """
WITH b AS (UPDATE l_head SET head = head + %(n)s WHERE t = %(t)s RETURNING head - %(n)s AS base),
g AS MATERIALIZED (SELECT b.base, x.* FROM b, json_to_recordset(%(rows)s::json)
                   AS x(n int, r text, payload text, ss text[]))
"""
WRITE: dict[str, LiteralString] = {
    "narrow": BUMP
    + """, c AS (
        INSERT INTO l_change SELECT %(t)s, 'w', r, base + n, 'upsert', 1, payload FROM g
        ON CONFLICT (t, c, r) DO UPDATE SET seq = excluded.seq, payload = excluded.payload)
    INSERT INTO l_entry SELECT %(t)s, unnest(ss), 'w', r, base + n, 'upsert' FROM g
    ON CONFLICT (t, s, c, r) DO UPDATE SET seq = excluded.seq""",
    "wide": BUMP
    + """INSERT INTO l_wide SELECT %(t)s, unnest(ss), 'w', r, base + n, 'upsert', 1, payload FROM g
    ON CONFLICT (t, s, c, r) DO UPDATE SET seq = excluded.seq, payload = excluded.payload""",
}
READ: dict[str, LiteralString] = {
    "narrow": """SELECT e.seq, c.v, c.payload FROM l_entry e
        JOIN l_change c ON c.t = e.t AND c.c = e.c AND c.r = e.r
        WHERE e.t = %s AND e.s = 'a' AND e.seq > %s ORDER BY e.seq LIMIT 1000""",
    "wide": """SELECT seq, v, payload FROM l_wide
        WHERE t = %s AND s = 'a' AND seq > %s ORDER BY seq LIMIT 1000""",
}
STORED = {"narrow": ("l_change", "l_entry"), "wide": ("l_wide",)}

Connection = psycopg.Connection[tuple[Any, ...]]


def write(connection: Connection, layout: str, ids: list[str], scopes: list[str]) -> float:
    """Write the rows in batches; return the seconds it took."""
    began = time.perf_counter()
    for start in range(0, len(ids), BATCH_ROWS):
        part = ids[start : start + BATCH_ROWS]
        rows = [
            {"n": n, "r": row, "payload": PAYLOAD, "ss": scopes} for n, row in enumerate(part, 1)
        ]
        connection.execute(WRITE[layout], {"n": len(part), "t": TENANT, "rows": json.dumps(rows)})
    return time.perf_counter() - began


def read(connection: Connection, layout: str) -> float:
    """Read one scope from its beginning in pages; return the seconds it took."""
    began, after = time.perf_counter(), 0
    while page := connection.execute(READ[layout], (TENANT, after)).fetchall():
        after = page[-1][0]
    return time.perf_counter() - began


def measure(connection: Connection, scopes: list[str]) -> dict[str, float]:
    """Return the cost of the wide layout as a share of the narrow one's."""
    seconds: dict[tuple[str, str], list[float]] = {}
    for _ in range(ROUNDS):
        connection.execute(TABLES)
        connection.execute("INSERT INTO l_head VALUES (%s, 0)", (TENANT,))
        ids = [str(uuid.uuid4()) for _ in range(ROWS)]
        for layout in STORED:
            half = random.sample(ids, ROWS // 2)
            seconds.setdefault(("insert", layout), []).append(
                write(connection, layout, ids, scopes)
            )
            connection.execute("ANALYZE")
            seconds.setdefault(("read", layout), []).append(read(connection, layout))
            seconds.setdefault(("update", layout), []).append(
                write(connection, layout, half, scopes)
            )
    sizes = {
        layout: sum(_size(connection, table) for table in tables)
        for layout, tables in STORED.items()
    }
    medians = {key: statistics.median(values) for key, values in seconds.items()}
    ratios = {
        op: medians[op, "wide"] / medians[op, "narrow"] for op in ("insert", "update", "read")
    }
    return {**ratios, "size": sizes["wide"] / sizes["narrow"]}


def _size(connection: Connection, table: str) -> int:
    found = connection.execute("SELECT pg_total_relation_size(%s)", (table,)).fetchone()
    return int(found[0]) if found else 0


if __name__ == "__main__":
    with psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as database:
        for count in (1, 2, 3):
            found = measure(database, list("abc")[:count])
            print(count, {name: round(ratio, 2) for name, ratio in found.items()}, flush=True)
        database.execute("DROP TABLE l_head, l_change, l_entry, l_wide")
