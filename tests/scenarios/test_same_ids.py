"""Two tenants whose rows have the same ids, children and all: neither ever touches the other's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection

from sync import local_edits
from tests.phones import Phone, World, create, delete, new_id, update
from tests.scenarios.reading import outcomes

ASSET, ORDER, OTHER, FORM, NOTE, TASK, ANSWER = (new_id() for _ in range(7))
TABLES = (
    "asset",
    "work_order",
    "task",
    "inspection",
    "answer",
    "note",
    "sync_change",
    "sync_entry",
)

Step = Callable[[Phone, World], list[dict[str, Any]]]


def rows(world: World) -> list[dict[str, Any]]:
    tasks = [{"id": TASK, "position": 1, "text": f"{world.canary} look"}]
    answers = [{"id": ANSWER, "item_code": "1", "value": "ok"}]
    return [
        create("assets", ASSET, site=world.site, category="pump"),
        create("work_orders", ORDER, **world.order(tasks=tasks)),
        create("work_orders", OTHER, **world.order(title=f"{world.canary} other", tasks=tasks)),
        create("inspections", FORM, asset=ASSET, template_code="T", answers=answers),
        create("notes", NOTE, work_order=ORDER, text=world.canary),
    ]


def stored(world: World) -> dict[str, list[str]]:
    """Return all that the tables hold of a tenant, column by column."""
    found = {}
    with connection.cursor() as cursor:
        for table in TABLES:
            cursor.execute(
                f"SELECT to_jsonb(t)::text FROM {table} t WHERE tenant_id = %s ORDER BY 1",
                [world.tenant.pk],
            )
            found[table] = [text for (text,) in cursor.fetchall()]
    return found


def curse() -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE work_order ADD CONSTRAINT cursed CHECK (title <> 'cursed')")


STEPS: dict[str, Step] = {
    "edit": lambda phone, _: phone.push(update("work_orders", ORDER, 1, title="mine", priority=1)),
    "edit of a list": lambda phone, _: phone.push(
        update("work_orders", ORDER, 1, tasks=[{"id": TASK, "position": 2, "text": "mine"}])
    ),
    "empty list": lambda phone, _: phone.push(update("work_orders", ORDER, 1, tasks=[])),
    "edit of a child": lambda phone, _: phone.push(
        update("inspections", FORM, 1, answers=[{"id": ANSWER, "value": "mine"}])
    ),
    "removal of a child": lambda phone, _: phone.push(
        update("inspections", FORM, 1, answers=[{"id": ANSWER, "deleted": True}])
    ),
    "delete": lambda phone, _: phone.push(delete("work_orders", OTHER, 1)),
    "move": lambda phone, _: phone.push(
        update("work_orders", ORDER, 1, assignee=str(phone.user_id))
    ),
}


@pytest.mark.parametrize("is_refused_beside", [False, True], ids=["in hope", "with care"])
@pytest.mark.parametrize("step", STEPS)
def test_what_one_tenant_does_leaves_the_other_as_it_was(
    step: str, is_refused_beside: bool, wales: World, northwind: World
) -> None:
    """Every table of the other, to the last column."""
    nina = northwind.hire("dispatcher")
    for phone, world in ((wales.hire("dispatcher"), wales), (nina, northwind)):
        assert set(outcomes(phone.push(*rows(world)))) == {"created"}
    before = stored(wales)
    if is_refused_beside:
        curse()
        nina.push(create("work_orders", **northwind.order(title="cursed")))

    results = STEPS[step](nina, northwind)

    assert outcomes(results) in (["updated"], ["deleted"])
    assert stored(wales) == before


def test_what_the_office_does_leaves_the_other_tenant_as_it_was(
    wales: World, northwind: World
) -> None:
    """It names the tenant, not only the row."""
    for world in (wales, northwind):
        world.hire("dispatcher").push(*rows(world))
    before = stored(wales)

    local_edits.apply(
        northwind.tenant.pk,
        [
            local_edits.update("work_orders", ORDER, {"title": "mine", "tasks": []}),
            local_edits.update(
                "inspections", FORM, {"answers": [{"id": ANSWER, "deleted": True}]}
            ),
            local_edits.delete("work_orders", OTHER),
            local_edits.delete("notes", NOTE),
        ],
    )

    assert stored(wales) == before
