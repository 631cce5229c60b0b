"""People are given other territories while their phones hear nothing of it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest

from backend.accounts.models import Membership
from backend.fieldwork.models import Territory, WorkOrder
from backend.fieldwork.services import move_territory
from sync.models import ParkedMutation
from tests.desk import apply, kept, turn_on
from tests.phones import Phone, World, create, update
from tests.scenarios.reading import outcomes

Key = tuple[str, str]


def send_to(phone: Phone, *territories: str) -> None:
    held = [UUID(territory) for territory in territories]
    Membership.objects.filter(user_id=phone.user_id).update(territories=held)


def some_work(world: World, dora: Phone, site: str) -> dict[str, dict[str, Any]]:
    """Let the dispatcher write down an asset, a work order and what hangs below them."""
    asset = create("assets", site=site, category="Boiler")
    order = create("work_orders", **world.order(site=site))
    work = {
        "asset": asset,
        "order": order,
        "note": create("notes", work_order=order["id"], text="rust"),
        "inspection": create("inspections", asset=asset["id"], template_code="T"),
    }
    assert set(outcomes(dora.push(*work.values()))) == {"created"}
    return work


def keys(work: dict[str, dict[str, Any]]) -> set[Key]:
    return {(each["collection"], each["id"]) for each in work.values()}


def late_work(world: World, lost: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what was done in ignorance: at the place that was lost, and at none that is known."""
    new = create("work_orders", **world.order())
    return [
        update("work_orders", lost["order"]["id"], 1, status="assigned"),
        create("notes", work_order=lost["order"]["id"], text="Changed the seal"),
        new,
        create("notes", work_order=new["id"], text="Leaks again"),
    ]


REFUSED = ["not_found", "dependency_failed", "dependency_failed", "dependency_failed"]


@pytest.mark.parametrize("pushes_first", [True, False])
def test_technician_who_was_sent_elsewhere_gets_the_new_place_and_loses_the_old(
    pushes_first: bool, alice: Phone, dora: Phone, wales: World
) -> None:
    """All of the old place goes, all of the new one comes, though nobody edited any of it.

    The late work is refused line by line with a reason, and what she did elsewhere goes in.
    """
    lost = some_work(wales, dora, wales.site)
    gained = some_work(wales, dora, wales.other_site)
    mine = create("work_orders", **wales.order(site=wales.other_site, assignee=str(alice.user_id)))
    dora.push(mine)
    alice.pull()
    send_to(alice, wales.newport)
    work = [*late_work(wales, lost), update("work_orders", mine["id"], 1, status="assigned")]

    if not pushes_first:
        alice.pull()
    results = alice.push(*work)
    changes = alice.pull()

    assert outcomes(results) == [*REFUSED, "updated"]
    assert all(line["code"] and line["detail"] for line in results[:4])
    assert WorkOrder.objects.get(pk=lost["order"]["id"]).status == "open"
    if pushes_first:
        exits = {(c["collection"], c["id"]) for c in changes if c["op"] == "scope_exit"}
        assert exits == keys(lost) | {("sites", wales.site)}
    assert not keys(lost) & alice.rows.keys()
    assert keys(gained) | {("sites", wales.other_site)} <= alice.rows.keys()
    assert alice.row("work_orders", mine["id"])["status"] == "assigned"


def test_late_work_of_a_technician_who_was_sent_elsewhere_is_kept(
    alice: Phone, dora: Phone, wales: World
) -> None:
    """The visit did happen: a reviewer applies it, and it is signed by who was there."""
    turn_on(wales)
    lost = some_work(wales, dora, wales.site)
    alice.pull()
    send_to(alice, wales.newport)
    work = late_work(wales, lost)

    results = alice.push(*work)
    parked = {each["mutation"]["id"]: each["id"] for each in kept(dora)}
    for mutation in work:
        assert apply(dora, parked[mutation["id"]])["outcome"] in {"updated", "created"}

    assert outcomes(results) == ["quarantined"] * 4
    assert [line["refused"] for line in results] == REFUSED
    assert not ParkedMutation.objects.filter(state="open").exists()
    heir = wales.hire()
    heir.pull()
    assert heir.row("work_orders", lost["order"]["id"])["status"] == "assigned"
    for note in (work[1], work[3]):
        assert heir.row("notes", note["id"])["author"] == str(alice.user_id)
    alice.pull()
    assert not {("notes", work[1]["id"]), ("notes", work[3]["id"])} & alice.rows.keys()


def test_territory_that_is_hung_below_a_supervisors_comes_with_all_that_is_in_it(
    dora: Phone, wales: World
) -> None:
    """Nothing in it was edited and no membership changed; hung elsewhere, it goes again."""
    sam = wales.hire("supervisor", territories=[wales.cardiff])
    there = some_work(wales, dora, wales.other_site) | {
        "site": {"collection": "sites", "id": wales.other_site}
    }
    sam.pull()
    newport = Territory.objects.get(pk=wales.newport)

    move_territory(newport, UUID(wales.cardiff))
    came = sam.pull(3)
    move_territory(newport, None)
    went = sam.pull(3)

    assert keys(there) <= {(c["collection"], c["id"]) for c in came if c["op"] == "upsert"}
    assert keys(there) == {(c["collection"], c["id"]) for c in went if c["op"] == "scope_exit"}
    assert not keys(there) & sam.rows.keys()
