"""A technician is reassigned while offline: the old phone lets go, and no work vanishes."""

from __future__ import annotations

from typing import Any

import pytest

from backend.fieldwork.models import Note, WorkOrder
from sync.models import ParkedMutation
from tests.desk import apply, kept, turn_on
from tests.phones import Phone, World, create, new_id, update
from tests.scenarios.reading import outcomes


@pytest.fixture
def tom(wales: World) -> Phone:
    """Return the phone of a colleague without a territory of his own."""
    return wales.hire(territories=[])


@pytest.fixture
def visit(wales: World, alice: Phone, dora: Phone) -> dict[str, Any]:
    """Return a work order far from alice's territory, assigned to her, and on her phone."""
    order = create(
        "work_orders", **wales.order(site=wales.other_site, assignee=str(alice.user_id))
    )
    assert outcomes(dora.push(order)) == ["created"]
    alice.pull()
    assert ("work_orders", order["id"]) in alice.rows
    return order


def reassign(dora: Phone, visit: dict[str, Any], to: Phone) -> None:
    edit = update("work_orders", visit["id"], 1, assignee=str(to.user_id))
    assert outcomes(dora.push(edit)) == ["updated"]


def late_work(visit: dict[str, Any]) -> list[dict[str, Any]]:
    """Return what alice did while she knew of nothing: the visit is done, with a note and a part."""
    return [
        update("work_orders", visit["id"], 1, status="done"),
        create("notes", work_order=visit["id"], text="Changed the seal"),
        create("parts_used", work_order=visit["id"], sku="s1", quantity="1", unit="pc"),
    ]


def test_late_work_is_refused_with_a_reason_and_the_queue_goes_on(
    alice: Phone, dora: Phone, tom: Phone, wales: World, visit: dict[str, Any]
) -> None:
    """To her the work order exists no more; each refused line says so, and the next visit goes in."""
    reassign(dora, visit, tom)
    next_visit = create("work_orders", **wales.order())

    results = alice.push(*late_work(visit), next_visit)

    assert outcomes(results) == [
        "not_found", "dependency_failed", "dependency_failed", "created",
    ]  # fmt: skip
    assert [line["code"] for line in results[:3]] == [
        "row_not_found", "parent_missing", "parent_missing",
    ]  # fmt: skip
    assert all(line["detail"] for line in results[:3])
    assert results[1]["blocked_by"] == {
        "collection": "work_orders", "id": visit["id"], "index": None,
    }  # fmt: skip
    assert WorkOrder.objects.get(pk=visit["id"]).status == "open"
    assert not ParkedMutation.objects.exists()


@pytest.mark.parametrize("pushes_first", [True, False])
def test_old_phone_is_told_to_let_go_whether_it_pushes_or_pulls_first(
    *,
    pushes_first: bool,
    alice: Phone,
    dora: Phone,
    tom: Phone,
    visit: dict[str, Any],
) -> None:
    """`scope_exit`: it is not deleted, it is no longer hers. Her late work does not bring it back."""
    reassign(dora, visit, tom)

    if pushes_first:
        alice.push(*late_work(visit))
    exits = [(c["op"], c["id"]) for c in alice.pull()]
    if not pushes_first:
        alice.push(*late_work(visit))

    assert exits == [("scope_exit", visit["id"])]
    assert alice.pull() == []
    tom.pull()
    assert tom.row("work_orders", visit["id"])["status"] == "open"


def test_late_work_is_kept_and_applied_by_a_supervisor(
    alice: Phone, dora: Phone, tom: Phone, wales: World, visit: dict[str, Any]
) -> None:
    """The visit did happen: it is applied beside the reassignment, signed by who was there."""
    turn_on(wales)
    work = late_work(visit)
    reassign(dora, visit, tom)

    results = alice.push(*work)
    parked = kept(dora)
    for each in parked:
        assert apply(dora, each["id"])["outcome"] in {"updated", "created"}
    tom.pull()

    assert outcomes(results) == ["quarantined"] * 3
    assert [line["refused"] for line in results] == [
        "not_found", "dependency_failed", "dependency_failed",
    ]  # fmt: skip
    assert [each["mutation"]["id"] for each in parked] == [mutation["id"] for mutation in work]
    row = tom.row("work_orders", visit["id"])
    assert (row["status"], row["assignee"]) == ("done", str(tom.user_id))
    assert tom.row("notes", work[1]["id"])["author"] == str(alice.user_id)
    assert tom.row("parts_used", work[2]["id"])["sku"] == "s1"
    assert kept(dora) == []
    assert alice.pull() != []  # that it left her; nothing else of it
    assert ("notes", work[1]["id"]) not in alice.rows


def test_work_that_arrived_before_the_reassignment_goes_along(
    alice: Phone, dora: Phone, tom: Phone, visit: dict[str, Any]
) -> None:
    """Half of the visit came in time: tom finds it, and alice's phone forgets it as a whole."""
    done, note, part = late_work(visit)
    alice.push(note)
    alice.pull()
    reassign(dora, visit, tom)

    results = alice.push(done, part)
    exits = {c["id"] for c in alice.pull() if c["op"] == "scope_exit"}
    tom.pull()

    assert outcomes(results) == ["not_found", "dependency_failed"]
    assert exits == {visit["id"], note["id"]}
    assert {("work_orders", visit["id"]), ("notes", note["id"])} <= tom.rows.keys()
    assert Note.objects.get(pk=note["id"]).author_id == alice.user_id


def test_work_that_comes_back_to_her_is_hers_again(
    alice: Phone, dora: Phone, tom: Phone, visit: dict[str, Any]
) -> None:
    """The dispatcher changed their mind: the refused work goes through under a new key."""
    reassign(dora, visit, tom)
    work = late_work(visit)
    alice.push(*work)
    alice.pull()
    dora.push(update("work_orders", visit["id"], 2, assignee=str(alice.user_id)))

    alice.pull()
    results = alice.push(*work)

    assert outcomes(results) == ["merged", "created", "created"]
    assert alice.row("work_orders", visit["id"])["assignee"] == str(alice.user_id)


def test_reassigned_row_answers_like_one_that_never_was(
    alice: Phone, dora: Phone, tom: Phone, visit: dict[str, Any]
) -> None:
    """Its new fields are no business of hers: the refusal is that of an id out of thin air."""
    reassign(dora, visit, tom)
    invented = new_id()

    left, never = alice.push(
        update("work_orders", visit["id"], 1, status="done"),
        update("work_orders", invented, 1, status="done"),
    )

    assert {**left, "id": "", "index": 0} == {**never, "id": "", "index": 0}
