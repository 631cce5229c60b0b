"""Office code and phones, or two pieces of office code, at the same rows in the same moment."""

from __future__ import annotations

from functools import partial
from typing import Any
from uuid import UUID

from django.db import transaction

from backend.fieldwork.models import Site, WorkOrder
from sync.models import ChangeRow
from tests.crowd import at_once
from tests.phones import World, create, make_world, new_id, update
from tests.sync.agreement import findings_of

ROUNDS, CROWD = 5, 4


def test_of_two_who_take_the_open_orders_one_gets_each(wales: World) -> None:
    """`filter(status="open").update(…)` is how code takes work; the filter must hold until COMMIT."""
    orders = [create("work_orders", **wales.order()) for _ in range(20)]
    wales.hire("dispatcher").push(*orders)

    def take(priority: int) -> int:
        return WorkOrder.objects.filter(status="open").update(
            status="in_progress", priority=priority
        )

    taken = at_once([partial(take, n) for n in range(1, 1 + CROWD)])

    assert sum(taken) == len(orders)
    assert set(WorkOrder.objects.values_list("version", flat=True)) == {2}
    assert findings_of(wales) == []


def test_row_that_all_get_or_create_is_there_once(wales: World) -> None:
    """As Django promises where something is unique; here the id is."""

    def get_or_create(row_id: UUID, name: str) -> tuple[Any, bool]:
        return Site.objects.get_or_create(
            tenant_id=wales.tenant.pk,
            pk=row_id,
            defaults={"name": name, "territory_id": wales.cardiff},
        )

    for _ in range(ROUNDS):
        row_id = UUID(new_id())
        found = at_once([partial(get_or_create, row_id, f"by {n}") for n in range(CROWD)])

        assert [is_new for _, is_new in found].count(True) == 1
        assert len({row.name for row, _ in found}) == 1
    assert findings_of(wales) == []


def test_tenants_are_locked_in_one_order(wales: World) -> None:
    """Two imports over the same tenants, each in a transaction of its own: neither is in the way."""
    harbour = make_world("harbour")

    def write(worlds: list[World]) -> None:
        for _ in range(4 * ROUNDS):
            with transaction.atomic():  # a deadlock is not tried again here
                Site.objects.bulk_create(
                    Site(tenant_id=world.tenant.pk, name="New", territory_id=UUID(world.cardiff))
                    for world in worlds
                )

    at_once([partial(write, [wales, harbour]), partial(write, [harbour, wales])] * 2)

    assert findings_of(wales, harbour) == []


def test_bulk_edits_beside_pushes_over_the_same_rows(wales: World) -> None:
    """Locks are taken in one order, and every edit is counted once and told."""
    phones = [wales.hire("dispatcher") for _ in range(2)]
    orders = [create("work_orders", **wales.order()) for _ in range(40)]
    phones[0].push(*orders)
    rows = WorkOrder.objects.filter(tenant_id=wales.tenant.pk)

    def office(priority: int) -> None:
        for round_ in range(ROUNDS):
            rows.order_by("-title", "-id").update(priority=1 + (priority + round_) % 5)

    def field(position: int) -> None:
        for round_ in range(ROUNDS):
            title = f"{wales.canary} {position}.{round_}"
            edits = [update("work_orders", o["id"], 1, title=title) for o in orders]
            phones[position].push(*reversed(edits))

    at_once([partial(office, 0), partial(office, 2), partial(field, 0), partial(field, 1)])

    assert findings_of(wales) == []
    assert ChangeRow.objects.filter(collection="work_orders").count() == len(orders)
