"""A push that meets every answer there is: one mutation for each refusal, and one for each success.

It is for the supervisor of Cardiff, who may be refused for more reasons than most.
"""

from __future__ import annotations

import uuid
from typing import Any

from backend.accounts.models import Tenant
from sync import local_edits
from tests.phones import Phone, World, create, delete, update
from tests.scenarios.reading import outcomes

ROWS = 500


def named(name: str) -> str:
    """Return the id that goes by `name` here, the same in every run."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, f"fieldsync:{name}"))


def named_world() -> World:
    """Make a tenant whose rows have the same ids in every run."""
    tenant = Tenant.objects.create(slug="wales", name="Wales")
    cardiff, newport, site, other = map(named, ("cardiff", "newport", "site", "other site"))
    local_edits.apply(
        tenant.pk,
        [
            local_edits.create("territories", {"name": "Cardiff"}, cardiff),
            local_edits.create("territories", {"name": "Newport"}, newport),
            local_edits.create("sites", {"name": "Harbour", "territory": cardiff}, site),
            local_edits.create("sites", {"name": "Mill", "territory": newport}, other),
        ],
    )
    return World(tenant=tenant, canary="Pump", cardiff=cardiff, newport=newport, site=site, other_site=other)  # fmt: skip


def order(world: World, name: str, **data: Any) -> dict[str, Any]:
    return create("work_orders", named(name), **world.order(title=name, **data))


def history(world: World, sam: Phone) -> None:
    """Bring the rows about on which the push will meet its refusals."""
    names = (
        "late edit",
        "late delete",
        "restored",
        "done",
        "taken",
        "noted",
        "deleted",
        "moved",
        "ended",
        "finished",
    )
    rows = [order(world, name) for name in names]
    rows[3]["data"]["status"] = rows[9]["data"]["status"] = "done"
    note = create("notes", named("note"), work_order=named("noted"), text="Bearing worn")
    asset = create("assets", named("asset"), site=world.site, category="pump")
    form = create("inspections", named("form"), asset=named("asset"), template_code="T")
    assert set(outcomes(sam.push(*rows, note, asset, form))) == {"created"}
    edits = [
        update("work_orders", named("late edit"), 1, title="renamed", priority=1),
        update("work_orders", named("late delete"), 1, priority=1),
        update("work_orders", named("moved"), 1, priority=1),
        delete("work_orders", named("deleted"), 1),
    ]
    assert set(outcomes(sam.push(*edits))) == {"updated", "deleted"}


def refused(world: World) -> list[dict[str, Any]]:
    """Return one mutation for each way in which this user's push can be refused."""
    answers = [{"id": named("answer"), "item_code": "1"}] * 2
    return [
        order(world, "invalid", kind="party", due_at="tomorrow", tasks=[{"id": named("task"), "text": ""}]),
        create("work_orders", named("unknown field"), **world.order(number="WO-1", colour="red")),
        update("inspections", named("form"), 1, answers=answers),
        order(world, "no such assignee", assignee=named("nobody")),
        create("meters", named("no such collection"), reading=1),
        update("work_orders", named("late edit"), 1, title="mine"),
        delete("work_orders", named("late delete"), 1),
        update("work_orders", named("restored"), 7, title="mine"),
        update("work_orders", named("done"), 1, status="open"),
        order(world, "taken", priority=5),
        delete("work_orders", named("noted"), 1),
        update("work_orders", named("deleted"), 1, title="mine"),
        update("notes", named("note"), 1, text="Bearing fine"),
        create("territories", named("new territory"), name="Swansea"),
        create("sites", named("new site"), name="Quay", territory=world.newport),
        update("work_orders", named("never was"), 1, title="mine"),
        create("notes", named("orphan"), work_order=named("never was"), text="x"),
        create("notes", named("blocked"), work_order=named("invalid"), text="x"),
        update("work_orders", named("invalid"), 1, title="mine"),
        order(world, "innocent") | {"group": "visit-17"},
        create("parts_used", named("culprit"), "visit-17", work_order=named("innocent"), sku="", quantity="0", unit="pc"),
    ]  # fmt: skip


def batch(world: World) -> list[dict[str, Any]]:
    """Return 500 mutations: one of each refusal, one of each success, and many new rows."""
    special = [
        *refused(world),
        update("work_orders", named("moved"), 1, title="mine"),
        update("work_orders", named("moved"), 2, priority=1),
        update("work_orders", named("finished"), 1, status="approved"),
        delete("work_orders", named("ended"), 1),
    ]
    new = [order(world, f"new {n}") for n in range(ROWS - len(special))]
    for place, mutation in enumerate(special):
        new.insert(place * 20, mutation)
    return new
