"""A parked mutation between two reviewers, and between a reviewer and its own phone."""

from __future__ import annotations

from functools import partial
from typing import Any

from django.db import connection, transaction

from backend.fieldwork.models import WorkOrder
from sync.models import ChangeRow, ParkedMutation
from tests.crowd import at_once
from tests.desk import kept, settle, turn_on
from tests.phones import Phone, World, create, update


def conflict_of(phone: Phone, wales: World) -> tuple[str, str, dict[str, Any]]:
    """Return a work order, and an edit of it that was refused, with the id that it is kept under."""
    order = create("work_orders", **wales.order())
    late = update("work_orders", order["id"], 1, title="late")
    phone.push(order, update("work_orders", order["id"], 1, title=f"{wales.canary} theirs"))
    (line,) = phone.push(late)
    return order["id"], line["quarantine_id"], late


def test_many_reviewers_at_once_apply_it_once(wales: World) -> None:
    """Each may do it; one does, and the others hear that it is done."""
    turn_on(wales)
    order, parked_id, _ = conflict_of(wales.hire(), wales)
    reviewers = [wales.hire("dispatcher") for _ in range(4)]

    answers = at_once(
        [
            partial(settle, r, parked_id, "apply", {"data": {"title": f"{n}"}})
            for n, r in enumerate(reviewers)
        ]
    )

    codes = sorted(answer.json().get("code", "applied") for answer in answers)
    assert codes == ["applied"] + ["quarantine_settled"] * 3
    assert WorkOrder.objects.get(pk=order).version == 3
    assert ChangeRow.objects.get(collection="work_orders", row_id=order).version == 3


def test_apply_against_discard_at_once(wales: World) -> None:
    """What the list says afterwards is what happened to the row."""
    turn_on(wales)
    order, parked_id, _ = conflict_of(wales.hire(), wales)
    dora, ada = wales.hire("dispatcher"), wales.hire("admin")

    answers = at_once(
        [partial(settle, dora, parked_id, "apply"), partial(settle, ada, parked_id, "discard")]
    )

    assert sorted(answer.status_code for answer in answers) == [200, 409]
    is_applied = answers[0].status_code == 200
    assert ParkedMutation.objects.get().state == ("applied" if is_applied else "discarded")
    assert WorkOrder.objects.get(pk=order).version == (3 if is_applied else 2)


def test_phone_sends_it_again_while_it_is_being_settled(wales: World) -> None:
    """The push waits for no reviewer, and names the one that is kept."""
    turn_on(wales)
    alice = wales.hire()
    _, parked_id, late = conflict_of(alice, wales)

    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM sync_quarantine WHERE id = %s FOR UPDATE", [parked_id])
        ((line,),) = at_once([lambda: alice.push(late)])

    assert line["quarantine_id"] == parked_id


def test_reviewer_waits_for_another_one_only_so_long(wales: World, settings: Any) -> None:
    """A request that hangs holds a thread of the server: better to be told to come back."""
    settings.SYNC = {**settings.SYNC, "LOCK_WAIT_MS": 50}
    turn_on(wales)
    _, parked_id, _ = conflict_of(wales.hire(), wales)
    dora = wales.hire("dispatcher")

    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT 1 FROM sync_quarantine WHERE id = %s FOR UPDATE", [parked_id])
        (answer,) = at_once([lambda: settle(dora, parked_id, "apply")])

    assert (answer.status_code, answer.json()["code"]) == (503, "temporarily_unavailable")
    assert settle(dora, parked_id, "apply").status_code == 200


def test_same_mutation_from_two_connections_is_kept_once(wales: World) -> None:
    """A phone that gave up waiting and tried again under a new key."""
    turn_on(wales)
    alice, dora = wales.hire(), wales.hire("dispatcher")
    late = [create("work_orders", **wales.order(priority=9)) for _ in range(20)]

    reports = at_once([lambda: alice.push(*late), lambda: alice.push(*reversed(late))])

    one, other = ({r["id"]: r["quarantine_id"] for r in report} for report in reports)
    assert one == other
    assert len(kept(dora)) == 20
