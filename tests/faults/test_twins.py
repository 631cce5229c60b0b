"""The same request, or the same row, from several sides at once."""

from __future__ import annotations

import uuid
from functools import partial
from typing import Any

import pytest
from django.db import connection, transaction

from backend.accounts.models import Membership
from backend.fieldwork.models import WorkOrder
from sync.failpoints import Point
from sync.models import ChangeRow, Receipt, Stream
from sync.testing.failpoints import at
from tests.crowd import at_once
from tests.phones import Phone, World, create, delete, new_id, update


def outcome_of(phone: Phone, mutation: dict[str, Any]) -> str:
    outcome: str = phone.push(mutation)[0]["outcome"]
    return outcome


def test_the_same_request_many_times_at_once_runs_once(wales: World) -> None:
    """A nervous phone and a proxy that repeats: one effect, one answer for all."""
    alice = wales.hire()
    body = {
        "policy": "per_row",
        "mutations": [create("work_orders", **wales.order()) for _ in range(20)],
    }
    key = str(uuid.uuid4())
    head = Stream.objects.get(tenant_id=wales.tenant.pk).head

    answers = at_once([lambda: alice.push_raw(body, key)] * 8)

    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.content for answer in answers}) == 1
    assert sorted("Idempotency-Replayed" in answer for answer in answers) == [False] + [True] * 7
    assert WorkOrder.objects.filter(tenant_id=wales.tenant.pk).count() == 20
    assert Receipt.objects.count() == 1
    assert Stream.objects.get(tenant_id=wales.tenant.pk).head == head + 20


def test_a_twin_that_waits_too_long_is_told_to_come_back(wales: World, settings: object) -> None:
    """The first one is still running: 409, Retry-After, and nothing done."""
    alice = wales.hire()
    settings.SYNC = {**settings.SYNC, "LOCK_WAIT_MS": 50}  # type: ignore[attr-defined]
    body = {"policy": "per_row", "mutations": [create("work_orders", **wales.order())]}

    def hold() -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(
                "INSERT INTO sync_request (tenant_id, holder_id, key, fingerprint, created_at)"
                " VALUES (%s, %s, 'k', '', now())",
                [alice.tenant_id, alice.device_id],
            )
            (answer,) = at_once([lambda: alice.push_raw(body, "k")])
            assert (answer.status_code, answer.json()["code"]) == (409, "request_in_flight")
            assert answer["Retry-After"] == "1"
            transaction.set_rollback(True)

    hold()
    assert alice.push_raw(body, "k").json()["status"] == "ok"


def test_two_phones_create_one_row_at_once(wales: World) -> None:
    """The same id with the same content is one row; the loser hears `unchanged`."""
    phones = [wales.hire() for _ in range(6)]
    mutation = create("work_orders", **wales.order())

    answers = at_once([partial(outcome_of, p, mutation) for p in phones])

    assert sorted(answers) == ["created"] + ["unchanged"] * 5


def test_a_row_edited_by_many_at_once_counts_every_edit(wales: World) -> None:
    """Versions are dense: as many as edits that were applied."""
    phones = [wales.hire() for _ in range(8)]
    order = create("work_orders", **wales.order())
    phones[0].push(order)

    answers = at_once(
        [
            partial(outcome_of, p, update("work_orders", order["id"], 1, title=f"t{n}"))
            for n, p in enumerate(phones)
        ]
    )  # fmt: skip

    assert sorted(answers) == ["conflict"] * 7 + ["updated"]
    assert WorkOrder.objects.get(pk=order["id"]).version == 2
    assert ChangeRow.objects.get(row_id=order["id"]).version == 2


@pytest.mark.parametrize("what", ["parent", "other reference"])
def test_a_row_that_vanishes_meanwhile_is_as_one_that_was_gone(wales: World, what: str) -> None:
    """Deleted between the plan and the write: only the database notices, and the words are the same."""
    alice, dora = wales.hire(), wales.hire("dispatcher")
    order = create("work_orders", **wales.order())
    asset = create("assets", site=wales.site, category="pump")
    dora.push(order, asset)
    if what == "parent":
        gone, mutation = order, create("notes", work_order=order["id"], text="rust")
    else:
        gone, mutation = asset, create("work_orders", **wales.order(asset=asset["id"]))
    deletions = [partial(dora.push, delete(gone["collection"], gone["id"], 1))]

    def delete_it_meanwhile() -> None:
        if deletions:
            at_once([deletions.pop()])

    with at(Point.PLANNED, delete_it_meanwhile):
        meanwhile = alice.push(mutation)

    assert deletions == []
    assert meanwhile == alice.push(mutation)
    assert meanwhile[0]["outcome"] == ("dependency_failed" if what == "parent" else "invalid")


def test_a_colleague_who_leaves_meanwhile_is_named_as_phones_name_them(wales: World) -> None:
    """The membership ended between the check and the write; `assignee` is the name on the wire."""
    alice, tom = wales.hire(), wales.hire()
    mutation = create("work_orders", **wales.order(assignee=str(tom.user_id)))

    with at(Point.PLANNED, Membership.objects.filter(user_id=tom.user_id).delete):
        meanwhile = alice.push(mutation)

    assert meanwhile == alice.push(mutation)
    assert [error["path"] for error in meanwhile[0]["errors"]] == ["assignee"]


@pytest.mark.parametrize("rounds", [15])
def test_notes_follow_a_work_order_that_is_reassigned_meanwhile(wales: World, rounds: int) -> None:
    """A note pushed in the same moment must land in the scopes that its work order has now."""
    dora, tom = wales.hire("dispatcher"), wales.hire(territories=[])
    alice = wales.hire(territories=[])
    people = [str(alice.user_id), str(tom.user_id)]
    order = create("work_orders", **wales.order(site=wales.other_site, assignee=people[0]))
    dora.push(order)

    for version in range(1, rounds + 1):
        at_once(
            [
                partial(
                    dora.push,
                    update("work_orders", order["id"], version, assignee=people[version % 2]),
                ),
                partial(dora.push, create("notes", new_id(), work_order=order["id"], text="x")),
                partial(dora.push, create("notes", new_id(), work_order=order["id"], text="y")),
            ]
        )
    parent = ChangeRow.objects.get(row_id=order["id"])

    scopes = set(
        map(tuple, ChangeRow.objects.filter(collection="notes").values_list("scopes", flat=True))
    )
    assert scopes == {tuple(parent.scopes)}
    holder = {people[0]: alice, people[1]: tom}[
        str(WorkOrder.objects.get(pk=order["id"]).assignee_id)
    ]
    holder.pull()
    assert len([1 for name, _ in holder.rows if name == "notes"]) == 2 * rounds
