"""Each kind of no that a database can say: it costs its own row, with a code, and no other."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection

from backend.fieldwork.models import PartUsed, WorkOrder
from tests.phones import Phone, World, create, delete, update
from tests.scenarios.reading import outcomes

ROWS, BAD = 9, 4

# (what the table is made to demand, a value that it refuses, SQLSTATE class in words -> code)
KINDS = {
    "unique": ("CREATE UNIQUE INDEX rule ON part_used (tenant_id, sku)", {"sku": "s0"}, "unique"),
    "excluded": ("ALTER TABLE part_used ADD CONSTRAINT rule EXCLUDE (sku WITH =)", {"sku": "s0"}, "invalid"),
    "check": ("ALTER TABLE part_used ADD CONSTRAINT rule CHECK (quantity < 50)", {"quantity": "60"}, "check"),
    "too long": ("ALTER TABLE part_used ALTER unit TYPE varchar(2)", {"unit": "box"}, "max_length"),
    "too great": ("ALTER TABLE part_used ALTER quantity TYPE numeric(4, 2)", {"quantity": "500"}, "out_of_range"),
    "foreign key": ("ALTER TABLE part_used ADD CONSTRAINT rule FOREIGN KEY (unit) REFERENCES units", {"unit": "box"}, "does_not_exist"),
}  # fmt: skip


def demand(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE units (unit varchar(20) PRIMARY KEY)")
        cursor.execute("INSERT INTO units VALUES ('pc')")
        cursor.execute(sql)


@pytest.mark.parametrize("kind", KINDS)
def test_row_that_the_database_refuses_for_any_reason_is_refused_alone(
    kind: str, alice: Phone, wales: World
) -> None:
    """The connection stays usable: the rows behind it are saved, in this push and in the next."""
    sql, value, code = KINDS[kind]
    demand(sql)
    order = create("work_orders", **wales.order())
    parts = [
        create("parts_used", work_order=order["id"], sku=f"s{n}", quantity="1", unit="pc")
        for n in range(ROWS)
    ]
    parts[BAD]["data"] |= value

    results = alice.push(order, *parts)

    assert results.pop(BAD + 1)["errors"][0]["code"] == code
    assert outcomes(results) == ["created"] * ROWS
    assert PartUsed.objects.filter(work_order=order["id"]).count() == ROWS - 1
    assert outcomes(alice.push(create("work_orders", **wales.order()))) == ["created"]


@pytest.mark.parametrize(
    ("sql", "value", "code"),
    [
        ("CREATE UNIQUE INDEX rule ON work_order (tenant_id, title)", {"title": "first"}, "unique"),
        ("ALTER TABLE work_order ALTER due_at SET NOT NULL", {"due_at": None}, "required"),
        ("ALTER TABLE work_order ADD CONSTRAINT rule CHECK (priority > 1)", {"priority": 1}, "check"),
        ("ALTER TABLE work_order ALTER title TYPE varchar(60)", {"title": "x" * 61}, "max_length"),
    ],
)  # fmt: skip
def test_edit_that_the_database_refuses_is_refused_alone(
    sql: str, value: dict[str, Any], code: str, alice: Phone, wales: World
) -> None:
    """The row stays as it was, its version too; the edits behind it are made."""
    demand(sql)
    rows = [
        create("work_orders", **wales.order(title=f"t{n}", due_at="2026-12-01T08:00:00Z"))
        for n in range(ROWS)
    ]
    rows[0]["data"]["title"] = "first"
    assert set(outcomes(alice.push(*rows))) == {"created"}
    edits = [update("work_orders", row["id"], 1, description="b") for row in rows]
    edits[BAD]["data"] |= value

    results = alice.push(*edits)

    assert results.pop(BAD)["errors"][0]["code"] == code
    assert outcomes(results) == ["updated"] * (ROWS - 1)
    refused = WorkOrder.objects.get(pk=rows[BAD]["id"])
    assert (refused.version, refused.description) == (1, "")
    assert WorkOrder.objects.filter(description="b", version=2).count() == ROWS - 1


def test_delete_that_the_database_refuses_is_refused_alone(dora: Phone, wales: World) -> None:
    """Something that does not sync, an invoice say, still names the row: the others are deleted."""
    rows = [create("work_orders", **wales.order()) for _ in range(ROWS)]
    dora.push(*rows)
    with connection.cursor() as cursor:
        cursor.execute(
            "CREATE TABLE invoice (tenant_id uuid, work_order_id uuid,"
            " FOREIGN KEY (tenant_id, work_order_id) REFERENCES work_order (tenant_id, id))"
        )
        cursor.execute("INSERT INTO invoice VALUES (%s, %s)", [wales.tenant.pk, rows[BAD]["id"]])

    results = dora.push(*(delete("work_orders", row["id"], 1) for row in rows))

    refused = results.pop(BAD)
    assert (refused["outcome"], refused["code"]) == ("conflict", "still_referenced")
    assert outcomes(results) == ["deleted"] * (ROWS - 1)
    assert [str(row.pk) for row in WorkOrder.objects.all()] == [rows[BAD]["id"]]


@pytest.mark.parametrize("op", ["create", "update", "delete"])
def test_row_that_a_trigger_refuses_is_refused_alone(op: str, dora: Phone, wales: World) -> None:
    """A rule that a team has written into its database is a rule like any other."""
    rows = [create("work_orders", **wales.order(title=f"t{n}")) for n in range(5)]
    if op != "create":
        dora.push(*rows)
    when = "OLD" if op == "delete" else "NEW"
    demand(
        "CREATE FUNCTION rule() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN IF {when}.title = 't2' AND {when}.priority = 3 THEN "
        f"RAISE EXCEPTION 'not this one'; END IF; RETURN {when}; END $$"
    )
    demand_trigger = f"CREATE TRIGGER rule BEFORE {op.replace('create', 'insert')} ON work_order "
    with connection.cursor() as cursor:
        cursor.execute(f"{demand_trigger} FOR EACH ROW EXECUTE FUNCTION rule()")
    pushes = {
        "create": rows,
        "update": [update("work_orders", row["id"], 1, description="x") for row in rows],
        "delete": [delete("work_orders", row["id"], 1) for row in rows],
    }

    results = dora.push(*pushes[op])

    refused = results.pop(2)
    assert (refused["outcome"], refused["errors"][0]["code"]) == ("invalid", "check")
    assert outcomes(results) == [f"{op}d"] * 4


def test_fault_of_the_server_is_not_taken_for_the_row_s(dora: Phone, wales: World) -> None:
    """A table that is not what the code thinks refuses every row; that is nobody's edit."""
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE work_order RENAME COLUMN description TO text")

    with pytest.raises(AssertionError, match="internal_error"):
        dora.push(create("work_orders", **wales.order()))
