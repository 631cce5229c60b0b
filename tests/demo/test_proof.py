"""The demo's proof is worth what it finds: planted errors, each of which it must report."""

from __future__ import annotations

import dataclasses
from collections import Counter
from types import SimpleNamespace

import pytest
from django.db import transaction

from backend.demo import proof
from sync.clock import utc_now
from sync.models import ChangeRow, Entry, Stream
from sync.types import RowKey, RowState
from tests.phones import World, create, make_world, new_id, update

KEY, OTHER = RowKey("sites", "a"), RowKey("sites", "b")
TRUTH = {
    KEY: RowState(
        version=2, field_versions={"name": 2}, data={"name": "x"}, scopes=frozenset({"s"})
    ),
    OTHER: RowState(
        version=1, field_versions={}, data={"name": "y"}, scopes=frozenset({"elsewhere"})
    ),
}
EQUAL = proof.Replica(name="tess", scopes=frozenset({"s"}), rows={KEY: (2, {"name": "x"})})


def test_equal_replica_has_no_difference() -> None:
    assert list(proof.check_replica(EQUAL, TRUTH)) == []


@pytest.mark.parametrize(
    ("rows", "word"),
    [
        ({}, "lacks sites/a"),
        ({KEY: (1, {"name": "x"})}, "is at version 1, the server at 2"),
        ({KEY: (2, {"name": "z"})}, "name: 'z', the server has 'x'"),
        ({KEY: (2, {})}, "name: None, the server has 'x'"),
        ({KEY: (2, {"name": "x", "more": 1})}, "more: 1, the server has None"),
        (
            {KEY: (2, {"name": "x"}), OTHER: (1, {"name": "y"})},
            "holds sites/b, which is not there",
        ),
    ],
)
def test_difference_of_a_replica_is_found(
    rows: dict[RowKey, tuple[int, dict[str, object]]], word: str
) -> None:
    (found,) = proof.check_replica(dataclasses.replace(EQUAL, rows=rows), TRUTH)

    assert word in found


@pytest.mark.parametrize(
    ("made", "edits_after", "is_right"),
    [(5, 13, True), (6, 13, False), (4, 13, False), (5, 12, False), (5, 14, False)],
    ids=["right", "answer missing", "answered twice", "edit lost", "edit doubled"],
)
def test_lost_and_doubled_work_is_found(made: int, edits_after: int, is_right: bool) -> None:
    outcomes = Counter(created=2, merged=1, unchanged=1, conflict=1)

    found = list(
        proof.check_accounts(
            made=made, outcomes=outcomes, edits_before=10, edits_after=edits_after
        )
    )

    assert (found == []) == is_right


def test_work_left_in_an_outbox_is_found() -> None:
    states = [("tess", SimpleNamespace(pending=0, sent=1, acked_unseen=0))]

    assert len(list(proof.check_outboxes(states))) == 1


@pytest.mark.parametrize(
    ("refused", "resolved", "open_issues", "word"),
    [
        (2, 1, [("row_not_found", "No such row.")], None),
        (2, 0, [("row_not_found", "No such row.")], "was refused 2 mutations"),
        (0, 0, [("row_not_found", "No such row.")], "was refused 0 mutations"),
        (1, 0, [("row_not_found", "")], "was given no reason for notes/a"),
    ],
    ids=["right", "vanished", "out of thin air", "without a reason"],
)
def test_refused_work_that_is_nowhere_is_found(
    refused: int, resolved: int, open_issues: list[tuple[str, str]], word: str | None
) -> None:
    """Late work of somebody who was reassigned waits on their device; it is never just gone."""
    outcomes = Counter(created=5, unchanged=1, not_found=refused)
    issues = [
        SimpleNamespace(code=code, detail=detail, collection="notes", row_id="a")
        for code, detail in open_issues
    ]

    found = list(proof.check_refusals([("tess", outcomes, resolved, issues)]))

    assert [word in line for line in found if word] == [True] * bool(word)
    assert bool(found) == bool(word)


@pytest.fixture
def wales(db: None) -> World:
    return make_world("wales")


def test_digest_of_the_server_is_compared_with_the_tables(wales: World) -> None:
    """Byte for byte, in every bucket: rows lost, altered, doubled or shown to somebody else."""
    phone = wales.hire()
    tasks = [{"id": new_id(), "position": n, "text": "ä \u2028"} for n in range(2)]
    order = create("work_orders", **wales.order(assignee=str(phone.user_id), tasks=tasks))
    note = create("notes", work_order=order["id"], text="rust")
    phone.push(order, note)
    phone.push(update("work_orders", order["id"], 1, title="b", scheduled_at="2026-01-01T00:00Z"))
    truth = proof.read_truth(wales.tenant.pk)
    scopes = {"tenant", f"user:{phone.user_id}", f"territory:{wales.cardiff}"}
    replica = proof.Replica(name="tess", scopes=frozenset(scopes), rows={})

    def differences() -> list[str]:
        return list(proof.check_digest(replica, truth, wales.tenant.pk, utc_now()))

    assert differences() == []
    entries = Entry.objects.filter(row_id=note["id"])
    for spoil in ({"digest": 1}, {"op": "delete"}):
        with transaction.atomic():
            entries.update(**spoil)
            (found,) = differences()
            assert "another digest of notes" in found
            transaction.set_rollback(True)
    with transaction.atomic():
        entries.update(bucket=(entries[0].bucket + 1) % 256)
        assert len(differences()) == 2
        transaction.set_rollback(True)
    Entry.objects.create(
        tenant_id=wales.tenant.pk, scope="tenant", collection="sites", row_id=wales.other_site,
        seq=10_000, op="upsert", digest=2, bucket=0,
    )  # fmt: skip
    assert len(differences()) == 1


def test_proof_reads_the_tables_and_not_the_feed(wales: World) -> None:
    """What is planted in the log is found by comparing it with the tables."""
    phone = wales.hire()
    order = create("work_orders", **wales.order(assignee=str(phone.user_id)))
    phone.push(order)
    phone.push(update("work_orders", order["id"], 1, title="b"))
    tenant_id = wales.tenant.pk
    truth = proof.read_truth(tenant_id)

    scopes = truth[RowKey("work_orders", order["id"])].scopes
    assert scopes == {f"territory:{wales.cardiff}", f"user:{phone.user_id}"}
    assert proof.count_edits(truth, tenant_id) == 4 + 2
    assert list(proof.check_feed(truth, tenant_id)) == []

    logged = ChangeRow.objects.filter(row_id=order["id"])
    logged.update(version=1)
    assert len(list(proof.check_feed(truth, tenant_id))) == 1
    logged.update(version=2, seq=Stream.objects.get(tenant_id=tenant_id).head + 1)
    assert len(list(proof.check_feed(truth, tenant_id))) == 1
    logged.delete()
    assert len(list(proof.check_feed(truth, tenant_id))) == 1
