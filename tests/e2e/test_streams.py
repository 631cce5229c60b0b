"""First syncs as streams, of a real server: flat memory, back-pressure, and a client that leaves."""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterator

import httpx2
import pytest
from django.db import connection

from backend.devstack.server import Server
from tests.e2e.memory import MIB, forget_peak, memory_bytes, only_linux
from tests.phones import PULL, Phone, World, make_world

ROWS = 60_000
GROWTH_BYTES_MAX = 24 * MIB  # a few pages of a thousand, packed and not
FILL = """
WITH made AS (
    SELECT n, gen_random_uuid()::text AS id FROM generate_series(1, %(rows)s) AS n
), stream AS (
    UPDATE sync_stream SET head = head + %(rows)s WHERE tenant_id = %(tenant)s
    RETURNING head - %(rows)s AS base
), changed AS (
    INSERT INTO sync_change (tenant_id, collection, row_id, seq, op, version, payload, digest,
                             scopes, changed_at)
    SELECT %(tenant)s, 'notes', id, base + n, 'upsert', 1,
           '{"text":"' || %(canary)s || repeat(md5(id), 20) || '"}', 0, ARRAY['tenant'], now()
    FROM made, stream
)
INSERT INTO sync_entry (tenant_id, scope, collection, row_id, seq, op, digest, bucket)
SELECT %(tenant)s, 'tenant', 'notes', id, base + n, 'upsert', 0, 0 FROM made, stream
"""


@pytest.fixture
def alice(transactional_db: None) -> Phone:
    """Return the phone of somebody with very many rows."""
    wales: World = make_world("wales")
    with connection.cursor() as cursor:
        cursor.execute(FILL, {"rows": ROWS, "tenant": wales.tenant.pk, "canary": wales.canary})
        cursor.execute("ANALYZE sync_entry, sync_change")
    return wales.hire()


@pytest.fixture
def link(server: Server) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=server.url, timeout=120) as client:
        yield client


def headers(phone: Phone, encoding: str = "identity") -> dict[str, str]:
    return {
        "Authorization": f"Bearer {phone.token}",
        "Accept": "application/x-ndjson",
        "Accept-Encoding": encoding,
    }


@only_linux
@pytest.mark.parametrize("encoding", ["identity", "gzip"])
def test_memory_is_flat_however_long_the_stream(
    encoding: str, server: Server, link: httpx2.Client, alice: Phone
) -> None:
    """One first sync after the other at 08:00: each may cost a few pages, not all of its rows."""
    link.get(f"{PULL}?limit=1000", headers={"Authorization": f"Bearer {alice.token}"})
    before = forget_peak(server)

    lines, size, last = 0, 0, b""
    unpack = zlib.decompressobj(16 + zlib.MAX_WBITS).decompress if encoding == "gzip" else bytes
    with link.stream("GET", PULL, headers=headers(alice, encoding)) as answer:
        assert answer.status_code == 200
        for chunk in answer.iter_raw():
            plain = unpack(chunk)
            lines += plain.count(b'\n{"op":"upsert"')
            size += len(plain)
            last = plain or last

    growth = memory_bytes(server, "VmHWM") - before
    assert json.loads(last.splitlines()[-1])["has_more"] is False
    assert lines > ROWS * 0.99
    assert size > 40 * MIB
    assert growth < GROWTH_BYTES_MAX, growth / MIB


@only_linux
def test_phone_that_does_not_read_costs_a_few_pages(
    server: Server, link: httpx2.Client, alice: Phone
) -> None:
    """It holds no thread and no connection, and nothing is read ahead for it: others go on."""
    plain = {"Authorization": f"Bearer {alice.token}"}
    link.get(f"{PULL}?limit=1000", headers=plain)
    before = forget_peak(server)
    with httpx2.Client(base_url=server.url, timeout=120) as slow:
        requests = [slow.build_request("GET", PULL, headers=headers(alice)) for _ in range(20)]
        answers = [slow.send(request, stream=True) for request in requests]

        for _ in range(30):
            assert link.get(f"{PULL}?limit=1000", headers=plain).status_code == 200

        growth = memory_bytes(server, "VmHWM") - before
        for answer in answers:
            answer.close()
    assert growth < len(answers) * 4 * MIB + GROWTH_BYTES_MAX, growth / MIB
