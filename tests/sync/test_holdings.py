"""The sums of a digest: what the query touches, whoever asks and however much others have."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection

from sync import holdings
from sync.scope_set import ScopeSet

TENANT, OTHER = uuid.UUID(int=1), uuid.UUID(int=2)
SCOPES, ROWS_EACH = 1_000, 20  # of a tenant, and of each of its scopes
INDEXED = {"Index Scan", "Index Only Scan", "Bitmap Index Scan", "Bitmap Heap Scan"}
# Every fifth row is in two scopes, every tenth has been deleted.
_FILL = """
INSERT INTO sync_entry (tenant_id, scope, collection, row_id, seq, op, digest, bucket)
SELECT %(tenant)s, 'territory:' || (i + twice * 7) %% %(scopes)s,
    (ARRAY['sites', 'notes', 'work_orders'])[1 + i %% 3], i::text, i,
    CASE WHEN i %% 10 = 0 THEN 'delete' ELSE 'upsert' END,
    ('x' || encode(substr(sha256(i::text::bytea), 1, 8), 'hex'))::bit(64)::bigint,
    get_byte(sha256(i::text::bytea), 0)
FROM generate_series(1, %(rows)s) AS i, generate_series(0, CASE WHEN i %% 5 = 0 THEN 1 ELSE 0 END) AS twice
"""


@pytest.fixture
def filled(db: None) -> None:
    """Fill the entries of two tenants, and let PostgreSQL know what they are like."""
    with connection.cursor() as cursor:
        for tenant in (TENANT, OTHER):
            rows = SCOPES * ROWS_EACH
            cursor.execute(_FILL, {"tenant": tenant, "scopes": SCOPES, "rows": rows})
        cursor.execute("ANALYZE sync_entry")


def scans(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the parts of a plan that read a table or an index."""
    if "Relation Name" in node or "Index Name" in node:
        yield node
    for inner in node.get("Plans", []):
        yield from scans(inner)


def explain(scopes: list[str], mode: str) -> list[dict[str, Any]]:
    """Return the scans of the query as a prepared statement, which is how the server sends it."""
    names = {"tenant": "uuid", "scopes": "text[]", "collections": "text[]", "after": "bigint"}
    sql = holdings._SUMS % {name: f"${n}" for n, name in enumerate(names, start=1)}
    values = f"'{TENANT}', '{{{','.join(scopes)}}}', NULL, {SCOPES * ROWS_EACH - 10}"
    with connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL plan_cache_mode = {mode}")
        cursor.execute(f"PREPARE sums ({', '.join(names.values())}) AS {sql}")
        try:
            cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) EXECUTE sums ({values})")
            (plan,) = cursor.fetchone()
        finally:
            cursor.execute("DEALLOCATE sums")
    found = json.loads(plan) if isinstance(plan, str) else plan
    return list(scans(found[0]["Plan"]))


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize("count", [1, 100])
def test_sums_touch_the_scopes_of_the_device_alone(filled: None, count: int, mode: str) -> None:
    """A range of an index each: what lies in 900 other scopes, or with others, costs nothing."""
    held = [f"territory:{n}" for n in range(count)]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM sync_entry WHERE tenant_id = %s AND scope = ANY(%s)",
            [TENANT, held],
        )
        (entries,) = cursor.fetchone()

    found = explain(held, mode)

    assert {node["Node Type"] for node in found} <= INDEXED
    for node in found:
        condition = node.get("Index Cond") or node["Recheck Cond"]
        assert "tenant_id = " in condition
        assert "(scope = ANY" in condition.replace("(scope)::text", "scope")
        if node["Node Type"] != "Bitmap Index Scan":  # counts what rolled back tests left, too
            read = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
            assert read * node["Actual Loops"] <= entries


def test_sums_are_those_of_rows_counted_one_by_one(filled: None) -> None:
    """Each row once, though every fifth is in two scopes; none that was deleted."""
    held = [f"territory:{n}" for n in range(100)]
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT collection, bucket, row_id, digest FROM sync_entry "
            "WHERE tenant_id = %s AND scope = ANY(%s) AND op = 'upsert'",
            [TENANT, held],
        )
        rows = cursor.fetchall()
    expected: dict[str, dict[int, holdings.Sum]] = {}
    for collection, bucket, _, digest in rows:
        before = expected.setdefault(collection, {}).get(bucket, holdings.Sum(0, 0))
        expected[collection][bucket] = holdings.Sum(before.rows + 1, before.checksum ^ digest)

    sums = holdings.read_sums(TENANT, ScopeSet(frozenset(held)), news_after=None)

    assert sums == holdings.Sums(buckets=expected, has_news=False)
    assert len(rows) > 1_500


def test_sums_of_one_collection_are_its_part_of_all(filled: None) -> None:
    """Whoever asks for less gets the same sums."""
    scopes = frozenset({"territory:1"})
    whole = holdings.read_sums(TENANT, ScopeSet(scopes), news_after=None)

    part = holdings.read_sums(TENANT, ScopeSet(scopes, frozenset({"notes"})), news_after=None)

    assert part.buckets == {"notes": whole.buckets["notes"]}


def test_who_holds_nothing_has_no_sums(filled: None) -> None:
    """No scope, one that nobody is in, or a tenant without a row."""
    for tenant, scopes in ((TENANT, []), (TENANT, ["nowhere"]), (uuid.uuid4(), ["territory:1"])):
        sums = holdings.read_sums(tenant, ScopeSet(frozenset(scopes)), news_after=0)

        assert sums == holdings.Sums(buckets={}, has_news=False)
