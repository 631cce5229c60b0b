"""The migration that gave checksums to databases that were there: its SQL against `wire`."""

from __future__ import annotations

import importlib

import pytest
from django.db import connection

from sync import local_edits, wire
from sync.migrations import __name__ as migrations
from sync.models import ChangeRow, Entry
from tests.phones import World, new_id
from tests.sync.agreement import kinds_of
from tests.sync.history import live_through

MIGRATION = importlib.import_module(f"{migrations}.0003_scope_sets_and_digests")
TEXTS = ["ä€🚰", '\\ " / \n\t', "\u2028 \u007f é e\u0301", "'; --", ""]


@pytest.fixture
def lived(wales: World) -> World:
    """Return a tenant with tombstones and exits, and with texts that encodings differ in."""
    live_through(wales)
    edits = [
        local_edits.create(
            "sites", {"name": f"n {text}", "territory": wales.cardiff, "customer": text}, new_id()
        )
        for text in TEXTS
    ]
    local_edits.apply(wales.tenant.pk, edits)
    return wales


def test_checksums_made_by_sql_are_those_of_the_engine(lived: World, northwind: World) -> None:
    """Of every row, tombstones and what left a scope included; of tenants with the same ids, too."""
    twin = {"name": "another", "territory": northwind.cardiff}
    local_edits.apply(northwind.tenant.pk, [local_edits.create("sites", twin, lived.site)])
    ChangeRow.objects.update(digest=0)
    Entry.objects.update(digest=0, bucket=0)
    assert "digest_differs" in kinds_of(lived, northwind)

    with connection.cursor() as cursor:
        for statement in (MIGRATION.CHECKSUM, MIGRATION.COPY):
            cursor.execute(statement)

    digests = {}
    for change in ChangeRow.objects.all():
        payload = None if change.payload is None else change.payload.encode()
        digests[change.tenant_id, change.collection, change.row_id] = change.digest
        assert change.digest == wire.digest(change.row_id, change.version, payload)
    for entry in Entry.objects.all():
        assert entry.bucket == wire.bucket(entry.row_id)
        assert entry.digest == digests[entry.tenant_id, entry.collection, entry.row_id]
    assert {"upsert", "delete"} == set(ChangeRow.objects.values_list("op", flat=True))
    assert "scope_exit" in Entry.objects.values_list("op", flat=True)
    assert kinds_of(lived, northwind) == []


def test_entry_without_a_change_gets_no_checksum(lived: World) -> None:
    """It stands for no row; the migration must not stumble over it."""
    Entry.objects.create(
        tenant_id=lived.tenant.pk, scope="tenant", collection="notes", row_id="nobody", seq=1,
        op="scope_exit", digest=5, bucket=0,
    )  # fmt: skip

    with connection.cursor() as cursor:
        cursor.execute(MIGRATION.COPY)

    entry = Entry.objects.get(row_id="nobody")
    assert (entry.digest, entry.bucket) == (0, wire.bucket("nobody"))
