"""A tenant with some history: edits, a deletion, a move between scopes, rows in several scopes."""

from __future__ import annotations

from sync import local_edits
from tests.phones import World, new_id


def live_through(world: World) -> dict[str, str]:
    """Make the history; return the ids of its rows by name, with those of the world."""
    names = ("asset", "order", "note", "note2", "gone", "task", "inspection")
    ids = {name: new_id() for name in names}
    assignee = world.hire()
    tasks = [{"id": ids["task"], "text": "Look"}]
    local_edits.apply(
        world.tenant.pk,
        [
            local_edits.create("assets", {"site": world.other_site, "category": "Pump"}, ids["asset"]),
            local_edits.create(
                "work_orders",
                world.order(
                    site=world.other_site, assignee=str(assignee.user_id), tasks=tasks, asset=ids["asset"]
                ),
                ids["order"],
            ),
            *(
                local_edits.create("notes", {"work_order": ids["order"], "text": name}, ids[name])
                for name in ("note", "note2", "gone")
            ),
            local_edits.create(
                "inspections",
                {
                    "asset": ids["asset"],
                    "template_code": "T",
                    "answers": [{"id": new_id(), "item_code": "1"}],
                },
                ids["inspection"],
            ),
        ],
    )  # fmt: skip
    for mutation in (
        local_edits.update("work_orders", ids["order"], {"title": f"{world.canary} late"}),
        local_edits.update("sites", world.other_site, {"territory": world.cardiff}),  # all move
        local_edits.update("assets", ids["asset"], {"attributes": {"l": 1.0}}),
        local_edits.delete("notes", ids["gone"]),
    ):
        local_edits.apply(world.tenant.pk, [mutation])
    return ids
