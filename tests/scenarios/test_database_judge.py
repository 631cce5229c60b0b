"""What only the database can tell: found row by row, and never at the cost of other rows."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from backend.fieldwork.models import Territory, WorkOrder
from sync import local_edits
from sync.models import ChangeRow, Receipt
from tests.phones import Phone, World, create, delete, new_id, update
from tests.scenarios.reading import outcomes

ROWS = 500


def orders(world: World, count: int = ROWS) -> list[dict[str, Any]]:
    return [create("work_orders", **world.order()) for _ in range(count)]


def curse() -> None:
    """Let the database, and nobody before it, refuse work orders with this title."""
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE work_order ADD CONSTRAINT cursed CHECK (title <> 'cursed')")


@pytest.mark.parametrize("bad", [[0], [499], [250], [0, 1, 499], list(range(0, 500, 50))])
def test_rows_that_the_database_refuses_are_found_among_500(
    bad: list[int], alice: Phone, wales: World
) -> None:
    """The rows before, between and behind them are saved."""
    curse()
    batch = orders(wales)
    for position in bad:
        batch[position]["data"]["title"] = "cursed"

    results = alice.push(*batch)

    refused = [line["index"] for line in results if line["outcome"] != "created"]
    assert refused == bad
    assert {e["code"] for n in bad for e in results[n]["errors"]} == {"check"}
    assert results[bad[0]]["errors"][0]["args"] == {"constraint": "cursed"}
    assert WorkOrder.objects.filter(tenant_id=wales.tenant.pk).count() == ROWS - len(bad)


def test_finding_one_bad_row_does_not_try_each_row(alice: Phone, wales: World) -> None:
    """Halving 500 rows takes nine steps, of a few statements each."""
    curse()
    batch = orders(wales)
    batch[123]["data"]["title"] = "cursed"

    with CaptureQueriesContext(connection) as queries:
        results = alice.push(*batch)

    assert outcomes(results).count("created") == ROWS - 1
    assert len(queries) < 100


def test_row_that_the_database_refuses_falls_with_its_group(alice: Phone, wales: World) -> None:
    """Also when it is found that late, a group is applied whole or not at all."""
    curse()
    whole, cursed, note = (
        create("work_orders", group="g", **wales.order()),
        create("work_orders", group="g", **wales.order(title="cursed")),
        create("notes", work_order=new_id(), text="x"),
    )
    note["data"]["work_order"] = whole["id"]

    results = alice.push(whole, cursed, note, *orders(wales, 3))

    assert outcomes(results) == [
        "not_applied", "invalid", "dependency_failed", "created", "created", "created",
    ]  # fmt: skip
    assert results[0]["blocked_by"]["id"] == cursed["id"]


@pytest.mark.parametrize("op", ["create", "update"])
def test_all_or_nothing_falls_with_the_row_that_the_database_refuses(
    op: str, alice: Phone, wales: World
) -> None:
    """One culprit, named; nothing written."""
    curse()
    batch = orders(wales, 5)
    if op == "update":
        alice.push(*batch)
        batch = [update("work_orders", each["id"], 1, title="b") for each in batch]
    batch[3]["data"]["title"] = "cursed"
    before = WorkOrder.objects.filter(tenant_id=wales.tenant.pk, title="b").count()

    results = alice.push(*batch, policy="all_or_nothing")

    assert outcomes(results) == ["not_applied"] * 3 + ["invalid", "not_applied"]
    assert WorkOrder.objects.filter(tenant_id=wales.tenant.pk, title="b").count() == before


def test_value_that_only_the_column_finds_too_long(alice: Phone, wales: World) -> None:
    """The serializer may be behind the table: the row is refused, the rest goes on."""
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE work_order ALTER COLUMN title TYPE varchar(60)")
    batch = orders(wales, 20)
    batch[7]["data"]["title"] = "x" * 61

    results = alice.push(*batch)

    assert [e["code"] for e in results[7]["errors"]] == ["max_length"]
    assert outcomes(results).count("created") == 19


def test_value_that_another_row_took(alice: Phone, wales: World) -> None:
    """Unique in the database alone: the first of the two stays."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE UNIQUE INDEX one_title ON work_order (tenant_id, title)")
    batch = orders(wales, 10)
    for n, each in enumerate(batch):
        each["data"]["title"] = f"title {n % 8}"

    results = alice.push(*batch)

    assert outcomes(results).count("created") == 8
    assert {line["errors"][0]["code"] for line in results if "errors" in line} == {"unique"}


def test_reference_that_is_deleted_while_the_push_runs(wales: World) -> None:
    """The database sees what the look-up before could not: the row is refused like a missing one."""
    dora = wales.hire("dispatcher")
    batch = orders(wales, 4)
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM site WHERE id = %s", [wales.site])  # the log still has it

    batch[1]["data"]["site"] = wales.other_site
    results = dora.push(*batch)

    assert outcomes(results) == ["dependency_failed", "created"] + ["dependency_failed"] * 2
    assert results[0]["code"] == "parent_missing"
    assert results[0]["blocked_by"] == {"collection": "sites", "id": wales.site, "index": None}


def test_tree_that_is_too_deep_is_refused_where_it_is(wales: World) -> None:
    """A chain of six in one push: five stand, the sixth is a check of the table."""
    dora = wales.hire("dispatcher")
    ids = [new_id() for _ in range(6)]
    chain = [
        create("territories", row_id, name=f"level {n}", parent=ids[n - 1] if n else None)
        for n, row_id in enumerate(ids)
    ]

    results = dora.push(*reversed(chain))

    assert outcomes(results) == ["invalid"] + ["created"] * 5
    assert Territory.objects.filter(id__in=ids).count() == 5


def test_edits_of_a_row_fall_with_the_refused_one(alice: Phone, wales: World) -> None:
    """A row's mutations are one group, also for the database."""
    curse()
    order, other = orders(wales, 2)
    edits = [update("work_orders", order["id"], None, title=f"t{n}") for n in range(20)]

    results = alice.push(
        order, *edits, update("work_orders", order["id"], None, title="cursed"), other
    )

    assert outcomes(results) == ["not_applied"] * 21 + ["invalid", "created"]


def test_groups_that_fall_one_after_the_other(alice: Phone, wales: World) -> None:
    """Each takes a value that the next gives up, and the last is refused: all come to an end."""
    curse()
    with connection.cursor() as cursor:
        cursor.execute("CREATE UNIQUE INDEX one_title ON work_order (tenant_id, title)")
    chain = [create("work_orders", **wales.order(title=f"title {n}")) for n in range(8)]
    assert set(outcomes(alice.push(*chain))) == {"created"}

    edits = []
    for n, each in reversed(list(enumerate(chain))):
        title = f"title {n + 1}" if n < 7 else "free"
        edits.append(update("work_orders", each["id"], 1, title=title) | {"group": f"g{n}"})
        twin = create("work_orders", group=f"g{n + 1}", **wales.order(title=f"twin {n}"))
        edits.append(
            twin if n < 7 else {**twin, "data": wales.order(title="cursed"), "group": "g7"}
        )

    results = alice.push(*edits)

    assert set(outcomes(results)) == {"invalid", "not_applied"}


def test_values_that_pass_from_row_to_row(alice: Phone, wales: World) -> None:
    """What one statement cannot do, since it looks row by row, is done in several."""
    with connection.cursor() as cursor:
        cursor.execute("CREATE UNIQUE INDEX one_title ON work_order (tenant_id, title)")
    chain = [create("work_orders", **wales.order(title=f"title {n}")) for n in range(6)]
    alice.push(*chain)
    edits = [
        update("work_orders", each["id"], 1, title=f"title {n + 1}")
        for n, each in enumerate(chain)
    ]

    results = alice.push(*reversed(edits))

    assert set(outcomes(results)) == {"updated"}
    assert set(WorkOrder.objects.filter(tenant_id=wales.tenant.pk).values_list("title", flat=True)) == {
        f"title {n + 1}" for n in range(6)
    }  # fmt: skip


# --- ids that are taken for new -------------------------------------------------------------------


def test_known_ids_among_new_ones_are_told_apart(dora: Phone, wales: World) -> None:
    """Equal, different, deleted and new rows in one push of creates."""
    equal, other, gone = orders(wales, 3)
    dora.push(equal, other, gone)
    dora.push(delete("work_orders", gone["id"], 1))
    changed = {**other, "data": {**other["data"], "title": "mine"}}
    fresh = orders(wales, 5)

    results = dora.push(fresh[0], equal, fresh[1], changed, gone, *fresh[2:])

    assert outcomes(results) == [
        "created", "unchanged", "created", "conflict", "gone", "created", "created", "created",
    ]  # fmt: skip
    assert results[3]["fields"] == ["title"]
    assert Receipt.objects.filter(tenant_id=wales.tenant.pk, status=None).count() == 0


def test_deleted_id_alone_is_found_by_the_feed(dora: Phone, wales: World) -> None:
    """No row stands in the way of the insert; the tombstone's version does."""
    (gone,) = orders(wales, 1)
    dora.push(gone)
    dora.push(delete("work_orders", gone["id"], 1))

    (result,) = dora.push(gone)

    assert result["outcome"] == "gone"
    assert not WorkOrder.objects.filter(id=gone["id"]).exists()
    assert ChangeRow.objects.get(row_id=gone["id"]).version == 2


@pytest.mark.parametrize("policy", ["per_row", "all_or_nothing"])
def test_known_id_is_found_though_its_group_falls_anyway(
    policy: str, alice: Phone, wales: World
) -> None:
    """What is not written is looked up, or the report would call it innocent."""
    known, other = orders(wales, 2)
    alice.push(known, other)
    changed = {**known, "data": {**known["data"], "title": "mine"}, "group": "g"}
    late = update("work_orders", other["id"], 7, title="late") | {"group": "g"}

    results = alice.push(changed, late, policy=policy)

    assert [line["code"] for line in results] == ["id_taken", "base_version_ahead"]


def test_known_id_is_found_though_it_is_deleted_again(dora: Phone, wales: World) -> None:
    """Created and deleted in one push: nothing to write, unless the row was there."""
    (known,) = orders(wales, 1)
    dora.push(known)
    (fresh,) = orders(wales, 1)

    results = dora.push(
        known, delete("work_orders", known["id"], 1), fresh, delete("work_orders", fresh["id"], 1)
    )

    assert outcomes(results) == ["unchanged", "deleted", "created", "deleted"]
    assert not WorkOrder.objects.filter(id=known["id"]).exists()


def test_new_rows_are_not_looked_up(dora: Phone, wales: World) -> None:
    """Every statement counts: what is created is written at once."""
    with CaptureQueriesContext(connection) as queries:
        dora.push(*orders(wales, 3))

    assert not [q for q in queries if "FOR NO KEY UPDATE" in q["sql"]]


def test_row_that_was_written_past_the_engine_keeps_its_values(alice: Phone, wales: World) -> None:
    """An edit of another field must not bring back what the feed still shows."""
    (order,) = orders(wales, 1)
    alice.push(order)
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE work_order SET title = 'past', version = 2 WHERE id = %s", [order["id"]]
        )

    (result,) = alice.push(update("work_orders", order["id"], 2, priority=1))

    assert (result["outcome"], result["version"]) == ("updated", 3)
    assert WorkOrder.objects.get(pk=order["id"]).title == "past"
    alice.pull()
    assert alice.row("work_orders", order["id"])["title"] == "past"


def test_edit_writes_no_other_column(alice: Phone, wales: World) -> None:
    """Not even with the value that the feed has of it."""
    (order,) = orders(wales, 1)
    alice.push(order)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE work_order SET title = 'past' WHERE id = %s", [order["id"]])

    alice.push(update("work_orders", order["id"], 1, priority=1))

    assert WorkOrder.objects.get(pk=order["id"]).title == "past"


def test_office_creates_look_first(wales: World) -> None:
    """What it writes is often written for the second time, as an import is."""
    (order,) = [local_edits.create("work_orders", wales.order())]
    local_edits.apply(wales.tenant.pk, [order])

    (result,) = local_edits.apply(wales.tenant.pk, [order])

    assert result.outcome == "unchanged"


@pytest.mark.parametrize("edited", [0, 3])
def test_tree_is_deleted_beside_one_that_is_needed(edited: int, dora: Phone, wales: World) -> None:
    """Above goes after below, in whatever order they come, also when the rows are tried by halves."""
    above, middle, below = (new_id() for _ in range(3))
    dora.push(
        create("territories", above, name="above"),
        create("territories", middle, name="middle", parent=above),
        create("territories", below, name="below", parent=middle),
    )
    rows = [above, middle, below, wales.cardiff]

    edits = [update("territories", row_id, 1, name="gone soon") for row_id in rows[:edited]]
    results = dora.push(*edits, *(delete("territories", row_id, 1) for row_id in rows))[edited:]

    assert outcomes(results) == ["deleted", "deleted", "deleted", "conflict"]
    assert results[3]["code"] == "still_referenced"
