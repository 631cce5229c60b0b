"""The audit: silent where all is well, and for each way to be wrong exactly one finding."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.test.utils import CaptureQueriesContext

from sync import audit, epochs, local_edits, storage
from sync.findings import EXPLANATIONS, Kind
from sync.registry import ranked_collections
from sync.types import Outcome
from sync.wire import digest
from tests.phones import World, new_id
from tests.sync.agreement import findings_of, kinds_of
from tests.sync.history import live_through
from tests.sync.planted import EDIT, FAULTS, NEW_EPOCH, NOTE, Fault


@pytest.fixture
def ids(wales: World) -> dict[str, str]:
    return live_through(wales)


@dataclasses.dataclass
class Hand:
    """Somebody at the database with an SQL prompt."""

    parameters: dict[str, Any]

    def run(self, *statements: str) -> None:
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement, self.parameters)
                is_ddl = statement.startswith("ALTER")
                assert is_ddl or cursor.rowcount > 0, f"changes nothing: {statement}"


@pytest.fixture
def hand(wales: World, ids: dict[str, str]) -> Hand:
    with connection.cursor() as cursor:
        cursor.execute("SELECT payload FROM sync_change WHERE row_id = %s", [ids["note"]])
        (payload,) = cursor.fetchone()
    return Hand(
        ids
        | {
            "tenant": wales.tenant.pk,
            "first": wales.cardiff,
            "no_payload": digest(ids["note"], 1, None),
            "no_payload_at_0": digest(ids["gone"], 0, None),
            "no_payload_at_2": digest(ids["gone"], 2, None),
            "digest_of_0": digest(ids["note"], 0, payload.encode()),
            "digest_of_7": digest(ids["note"], 7, payload.encode()),
            "digest_of_brace": digest(ids["note"], 1, b"{"),
            "digest_of_number": digest(ids["note"], 1, b"7"),
        }
    )


def test_audit_is_silent_where_all_is_well(wales: World, ids: dict[str, str]) -> None:
    """After edits, a deletion and a move; and it says what it has looked at."""
    tally = audit.Tally()

    found = list(audit.check(wales.tenant.pk, tally))

    assert found == []
    assert (tally.tenants, tally.rows, tally.changes) == (1, 9, 10)
    assert tally.entries > tally.changes


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_fault_is_found_and_nothing_else(
    fault: Fault, wales: World, northwind: World, ids: dict[str, str], hand: Hand
) -> None:
    """What is broken by hand is found as that, with the row that it is about."""
    hand.run(*fault.plant)

    (finding,) = findings_of(wales, northwind)

    collection, _, name = (fault.row or "").partition("/")
    row_id = {**ids, "nobody": "nobody"}.get(name)
    assert finding.kind is fault.what
    assert (finding.tenant_id, finding.collection) == (wales.tenant.pk, collection or None)
    # Of two rows with one seq, the finding is about either and its detail names both.
    assert finding.row_id == row_id or (row_id or "") in finding.detail
    assert finding.detail


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_remedy_mends(fault: Fault, wales: World, ids: dict[str, str], hand: Hand) -> None:
    """What an operator is told to do makes rows and feed agree again."""
    hand.run(*fault.plant)

    for step in fault.mend:
        if step == EDIT:
            edit = local_edits.update("notes", ids["note"], {"text": "mended"})
            (result,) = local_edits.apply(wales.tenant.pk, [edit])
            assert result.outcome is Outcome.UPDATED
        elif step == NEW_EPOCH:
            epochs.start_epoch(wales.tenant.pk)
        else:
            hand.run(step)

    assert findings_of(wales) == []


def test_every_kind_is_planted() -> None:
    """A kind that nothing brings about is one that nothing proves."""
    assert {fault.what for fault in FAULTS.values()} == set(Kind) == EXPLANATIONS.keys()


def test_rows_of_a_data_migration_are_found(wales: World) -> None:
    """Its models are shadows of ours, with Django's own managers: nothing can stop them."""
    state = MigrationExecutor(connection).loader.project_state([("fieldwork", "0001_initial")])
    shadow: Any = state.apps.get_model("fieldwork", "Site")

    shadow.objects.filter(pk=wales.site).update(customer="by migration")
    shadow.objects.create(
        tenant_id=wales.tenant.pk, id=new_id(), name="by migration",
        territory_id=wales.cardiff, created_at="2026-11-23T00:00Z", updated_at="2026-11-23T00:00Z",
    )  # fmt: skip

    assert kinds_of(wales) == ["payload_differs", "row_unlogged", "version_below_one"]


def test_details_hold_no_values(wales: World, hand: Hand) -> None:
    """The report goes into logs, where customers' data has no business."""
    hand.run(f"UPDATE note SET text = 'the key is under the mat' {NOTE}")

    (finding,) = findings_of(wales)

    assert finding.detail == "in text"


def test_all_tenants_are_listed(wales: World, northwind: World) -> None:
    """Also one that has nothing but rows."""
    with connection.cursor() as cursor:
        for table in ("sync_stream", "sync_change", "sync_entry"):
            cursor.execute(f"DELETE FROM {table} WHERE tenant_id = %s", [northwind.tenant.pk])

    assert audit.list_tenants() == sorted([wales.tenant.pk, northwind.tenant.pk])
    assert set(kinds_of(northwind)) == {"stream_missing", "row_unlogged"}


@pytest.mark.parametrize("chunk_rows", [1, 2, 3, 1_000])
def test_chunks_add_up_to_all_rows(
    chunk_rows: int, wales: World, northwind: World, ids: dict[str, str]
) -> None:
    """Each row once, children and all, whatever the size; and another tenant's never."""
    for collection in ranked_collections().values():
        chunks = list(storage.read_in_chunks(collection, wales.tenant.pk, chunk_rows))

        assert all(0 < len(chunk) <= chunk_rows for chunk in chunks)
        whole = {row_id: state for chunk in chunks for row_id, state in chunk.items()}
        assert whole == storage.read(collection, wales.tenant.pk)
        assert sum(map(len, chunks)) == len(whole)


def test_cost_of_an_audit_does_not_grow_with_rows(wales: World, ids: dict[str, str]) -> None:
    """Within a chunk: a query for its rows, their children, their changes, their parents."""

    def cost() -> int:
        with CaptureQueriesContext(connection) as queries:
            assert findings_of(wales) == []
        return len(queries)

    before = cost()
    more = [local_edits.create("work_orders", wales.order()) for _ in range(200)]
    local_edits.apply(wales.tenant.pk, more)

    assert cost() == before
