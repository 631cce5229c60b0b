"""What a supervisor does with what was refused and kept: apply it, mend it, discard it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from backend.fieldwork.models import Note, WorkOrder
from sync.models import Stream
from tests.desk import QUARANTINE, apply, kept, settle, state_of_parked, turn_on
from tests.phones import Phone, World, create, delete, new_id, update
from tests.scenarios.reading import outcomes


@pytest.fixture
def wales(wales: World) -> World:
    return turn_on(wales)


@pytest.fixture
def sam(wales: World) -> Phone:
    """Return the phone of Cardiff's supervisor."""
    return wales.hire("supervisor")


def park(phone: Phone, mutation: dict[str, Any]) -> str:
    """Push what must be refused; return the id that it is kept under."""
    (line,) = phone.push(mutation)
    parked_id: str = line["quarantine_id"]
    return parked_id


def conflict_of(phone: Phone, wales: World) -> tuple[str, str]:
    """Return a work order at version 2, and a parked edit of its title that was based on 1."""
    order = create("work_orders", **wales.order())
    phone.push(order, update("work_orders", order["id"], 1, title=f"{wales.canary} theirs"))
    return order["id"], park(phone, update("work_orders", order["id"], 1, title="late"))


# --- apply ------------------------------------------------------------------------------------


def test_applied_conflict_wins_over_the_row_as_it_is(
    wales: World, alice: Phone, bob: Phone, sam: Phone
) -> None:
    """The supervisor has seen both: on the old base it could only be refused again."""
    order, parked_id = conflict_of(alice, wales)

    line = apply(sam, parked_id)

    bob.pull()
    assert (line["outcome"], line["version"], line["id"]) == ("updated", 3, order)
    assert bob.row("work_orders", order)["title"] == "late"


def test_applied_edit_keeps_what_it_does_not_name(wales: World, alice: Phone, sam: Phone) -> None:
    """It wins in its own fields only."""
    order, parked_id = conflict_of(alice, wales)
    alice.push(update("work_orders", order, 2, priority=1))

    apply(sam, parked_id)

    row = WorkOrder.objects.get(pk=order)
    assert (row.title, row.priority) == ("late", 1)


def test_phone_that_did_the_work_pulls_it_as_a_change_of_others(
    wales: World, alice: Phone, sam: Phone
) -> None:
    """Its own edit was refused: taken for an echo, the change would never be shown."""
    order, parked_id = conflict_of(alice, wales)
    alice.pull()

    apply(sam, parked_id)

    (change,) = alice.pull()
    assert (change["id"], change["version"], change["own"]) == (order, 3, False)


def test_row_is_judged_by_the_reviewer_s_role(wales: World, alice: Phone, sam: Phone) -> None:
    """A technician may not delete; that the supervisor may is the point of asking them."""
    order = create("work_orders", **wales.order())
    alice.push(order)
    parked_id = park(alice, delete("work_orders", order["id"], 1))

    line = apply(sam, parked_id)

    assert line["outcome"] == "deleted"
    assert not WorkOrder.objects.filter(pk=order["id"]).exists()


def test_reviewer_s_own_limits_hold(wales: World, alice: Phone, sam: Phone) -> None:
    """Nothing that they may not do themselves can be done by applying it."""
    parked_id = park(alice, create("territories", name="Mine"))

    answer = settle(sam, parked_id, "apply")

    assert (answer.status_code, answer.json()["code"]) == (422, "quarantine_refused")
    assert answer.json()["result"]["code"] == "role_forbids"
    assert apply(wales.hire("dispatcher"), parked_id)["outcome"] == "created"


def test_field_of_the_server_is_refused_again(wales: World, alice: Phone, sam: Phone) -> None:
    """A phone that signs for somebody else does not get its way by being parked."""
    order = create("work_orders", **wales.order())
    alice.push(order)
    note = create("notes", work_order=order["id"], text="x", author=str(sam.user_id))
    parked_id = park(alice, note)

    answer = settle(sam, parked_id, "apply")

    assert answer.json()["result"]["errors"][0]["code"] == "read_only"
    assert not Note.objects.exists()


# --- apply, edited ----------------------------------------------------------------------------


def test_mended_mutation_is_applied_and_signed_by_who_did_the_work(
    wales: World, alice: Phone, sam: Phone
) -> None:
    """The supervisor mends the text; the visit stays the technician's. What was mended is kept."""
    order = create("work_orders", **wales.order())
    alice.push(order)
    parked_id = park(alice, create("notes", work_order=order["id"], text=""))
    data = {"work_order": order["id"], "text": "Changed the seal"}

    line = apply(sam, parked_id, data=data)

    note = Note.objects.get(pk=line["id"])
    assert (note.text, note.author_id) == ("Changed the seal", alice.user_id)
    (settled,) = kept(sam, state="applied")
    assert settled["edit"] == {"data": data}
    assert settled["mutation"]["data"]["text"] == ""
    assert settled["settled_by"] == str(sam.user_id)
    assert settled["settled_at"] is not None


def test_deleted_row_is_made_again_under_a_new_id(
    wales: World, alice: Phone, dora: Phone, sam: Phone
) -> None:
    """An edit of a deleted row: the work goes into a new one."""
    order = create("work_orders", **wales.order())
    alice.push(order)
    dora.push(delete("work_orders", order["id"], 1))
    parked_id = park(alice, update("work_orders", order["id"], 1, status="done"))
    again = new_id()

    line = apply(sam, parked_id, op="create", id=again, data=wales.order(status="done"))

    assert (line["outcome"], line["id"]) == ("created", again)
    assert WorkOrder.objects.get(pk=again).status == "done"


def test_base_that_the_reviewer_names_is_judged_as_in_a_push(
    wales: World, alice: Phone, sam: Phone
) -> None:
    """So that they do not overwrite what came while they were looking."""
    order, parked_id = conflict_of(alice, wales)
    alice.push(update("work_orders", order, 2, title=f"{wales.canary} newer"))

    answer = settle(sam, parked_id, "apply", {"base_version": 2})

    problem = answer.json()
    assert (answer.status_code, problem["status"]) == (409, 409)
    assert problem["code"] == "quarantine_refused"
    assert problem["result"]["outcome"] == "conflict"
    assert problem["result"]["current"]["title"] == f"{wales.canary} newer"
    assert state_of_parked(sam, parked_id) == "open"
    assert apply(sam, parked_id, base_version=3)["outcome"] == "updated"


@pytest.mark.parametrize(
    ("edit", "status", "code"),
    [
        (b"{",                                        400, "body_malformed"),
        (b"[]",                                       400, "body_malformed"),
        (b'{"collection": "notes"}',                  400, "body_malformed"),
        (b'{"op": "x"}',                              400, "body_malformed"),
        (b'{"id": ""}',                               400, "body_malformed"),
        (b'{"base_version": -1}',                     400, "body_malformed"),
        (b'{"data": {"title": "\\u0000"}}',           400, "body_malformed"),
        (b'{"data": {"title": "\\ud800"}}',           400, "body_malformed"),
        (b'{"data": ' + b"[" * 50_000 + b"}",         400, "body_malformed"),
        (b'{"data": {"a": ' + b"[" * 40 + b"]" * 40 + b"}}", 400, "body_malformed"),
        (b'{"data": {}}' + b" " * 9_000_000,          413, "limit_exceeded"),
        (b'{"base_version": 99999999999999999999}',   400, "body_malformed"),
        (b'{"data": {"a": 99999999999999999999}}',    400, "body_malformed"),
        (b'{"data": {"title": ["x"]}}',               422, "quarantine_refused"),
        (b'{"id": "5"}',                              422, "quarantine_refused"),
    ],
    ids=range(15),
)  # fmt: skip
def test_bad_edit_is_a_clear_error(
    edit: bytes, status: int, code: str, wales: World, alice: Phone, sam: Phone
) -> None:
    """A code each, nothing written, and it stays open."""
    _, parked_id = conflict_of(alice, wales)
    head = Stream.objects.get(tenant_id=wales.tenant.pk).head

    answer = settle(sam, parked_id, "apply", edit)

    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert "mutations" not in answer.json()["detail"]
    assert Stream.objects.get(tenant_id=wales.tenant.pk).head == head
    assert state_of_parked(sam, parked_id) == "open"


def test_collection_that_nobody_knows_can_only_be_discarded(
    wales: World, alice: Phone, sam: Phone
) -> None:
    """An app of the future, or a typing error."""
    parked_id = park(alice, update("nonsense", new_id(), 1, a=1))

    answer = settle(sam, parked_id, "apply")

    assert answer.status_code == 422
    assert answer.json()["result"]["errors"][0]["code"] == "unknown_collection"
    assert settle(sam, parked_id, "discard").status_code == 200


def test_refused_again_and_again_changes_nothing(wales: World, alice: Phone, sam: Phone) -> None:
    """It stays open, and nothing is kept twice."""
    parked_id = park(alice, create("work_orders", **wales.order(priority=9)))

    answers = [settle(sam, parked_id, "apply") for _ in range(2)]

    for answer in answers:
        assert answer["Content-Type"] == "application/problem+json"
        assert (answer.status_code, answer.json()["code"]) == (422, "quarantine_refused")
        assert answer.json()["result"]["errors"][0]["path"] == "priority"
        assert "priority" in answer.json()["detail"]
    assert [each["id"] for each in kept(sam)] == [parked_id]


# --- settled once -----------------------------------------------------------------------------


@pytest.mark.parametrize("first", ["apply", "discard"])
@pytest.mark.parametrize("second", ["apply", "discard"])
def test_settled_is_settled(
    first: str, second: str, wales: World, alice: Phone, sam: Phone
) -> None:
    """Two supervisors, or one whose answer was lost: the second learns what happened."""
    order, parked_id = conflict_of(alice, wales)
    assert settle(sam, parked_id, first).status_code == 200
    version = WorkOrder.objects.get(pk=order).version

    answer = settle(wales.hire("dispatcher"), parked_id, second)

    state = {"apply": "applied", "discard": "discarded"}[first]
    assert (answer.status_code, answer.json()["code"]) == (409, "quarantine_settled")
    assert answer.json()["state"] == state_of_parked(sam, parked_id) == state
    assert WorkOrder.objects.get(pk=order).version == version


def test_what_the_phone_mended_itself_is_unchanged(wales: World, alice: Phone, sam: Phone) -> None:
    """The phone sent it again on the new version before the supervisor looked."""
    order, parked_id = conflict_of(alice, wales)
    alice.push(update("work_orders", order, 2, title="late"))

    line = apply(sam, parked_id)

    assert (line["outcome"], line["version"]) == ("unchanged", 3)
    assert state_of_parked(sam, parked_id) == "applied"


def test_discarded_leaves_a_reason_and_no_trace(wales: World, alice: Phone, sam: Phone) -> None:
    """Who decided so, when and why, stays readable; the row stays as it was."""
    order, parked_id = conflict_of(alice, wales)
    head = Stream.objects.get(tenant_id=wales.tenant.pk).head

    answer = settle(sam, parked_id, "discard", {"reason": "Twice the same visit"})

    parked = answer.json()
    assert (answer.status_code, parked["state"]) == (200, "discarded")
    assert parked["reason"] == "Twice the same visit"
    assert parked["settled_by"] == str(sam.user_id)
    assert parked == sam.send("GET", f"{QUARANTINE}{parked_id}/").json()
    assert kept(sam, state="discarded") == [parked]
    assert kept(sam) == []
    assert Stream.objects.get(tenant_id=wales.tenant.pk).head == head
    assert WorkOrder.objects.get(pk=order).version == 2


@pytest.mark.parametrize(
    "reason", [{"reason": "x" * 501}, {"reason": "\0"}, {"reason": 5}, {"why": ""}], ids=range(4)
)
def test_bad_reason_is_refused(reason: Any, wales: World, alice: Phone, sam: Phone) -> None:
    """Before anything is settled."""
    _, parked_id = conflict_of(alice, wales)

    answer = settle(sam, parked_id, "discard", json.dumps(reason).encode())

    assert (answer.status_code, answer.json()["code"]) == (400, "body_malformed")
    assert state_of_parked(sam, parked_id) == "open"


def test_parents_and_children_are_applied_one_by_one(
    wales: World, alice: Phone, sam: Phone
) -> None:
    """A refused visit: first the work order, mended; then the note finds it."""
    order = create("work_orders", **wales.order(priority=9))
    note = create("notes", work_order=order["id"], text="rust")
    results = alice.push(note, order)
    note_id, order_id = (line["quarantine_id"] for line in results)

    early = settle(sam, note_id, "apply")
    apply(sam, order_id, data=wales.order(priority=1))
    late = apply(sam, note_id)

    assert outcomes(results) == ["quarantined", "quarantined"]
    assert early.json()["result"]["code"] == "parent_missing"
    assert late["outcome"] == "created"


def test_review_goes_on_after_the_quarantine_was_turned_off(
    wales: World, alice: Phone, sam: Phone
) -> None:
    """What was kept was promised to be looked at."""
    order, parked_id = conflict_of(alice, wales)
    type(wales.tenant).objects.filter(pk=wales.tenant.pk).update(has_quarantine=False)

    (plain,) = alice.push(update("work_orders", order, 1, title="later"))

    assert plain["outcome"] == "conflict"
    assert apply(sam, parked_id)["outcome"] == "updated"


def test_applying_costs_the_same_in_a_full_quarantine(
    wales: World, alice: Phone, sam: Phone
) -> None:
    """Nothing is looked up but the one that is meant."""

    def cost() -> int:
        _, parked_id = conflict_of(alice, wales)
        with CaptureQueriesContext(connection) as queries:
            apply(sam, parked_id)
        return len(queries)

    cost()
    before = cost()
    alice.push(*(create("work_orders", **wales.order(priority=9)) for _ in range(50)))

    assert cost() == before
