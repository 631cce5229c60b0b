"""What the database itself refuses, whoever writes."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import IntegrityError, connection, transaction

from sync import local_edits
from sync.errors import EditRefused
from sync.ids import uuid7
from tests.phones import World

KEYS = {
    "territory": "PRIMARY KEY (tenant_id, id)",
    "site": "PRIMARY KEY (tenant_id, id)",
    "asset": "PRIMARY KEY (tenant_id, id)",
    "work_order": "PRIMARY KEY (tenant_id, id)",
    "task": "PRIMARY KEY (tenant_id, work_order_id, id)",
    "inspection": "PRIMARY KEY (tenant_id, id)",
    "answer": "PRIMARY KEY (tenant_id, inspection_id, id)",
    "note": "PRIMARY KEY (tenant_id, id)",
    "part_used": "PRIMARY KEY (tenant_id, id)",
}
MEMBERSHIP = "accounts_membership(tenant_id, user_id)"
REFERENCES = {
    ("territory", "parent_id"): "territory(tenant_id, id)",
    ("site", "territory_id"): "territory(tenant_id, id)",
    ("asset", "site_id"): "site(tenant_id, id)",
    ("work_order", "site_id"): "site(tenant_id, id)",
    ("work_order", "asset_id"): "asset(tenant_id, id)",
    ("work_order", "assignee_id"): MEMBERSHIP,
    ("task", "work_order_id"): "work_order(tenant_id, id) ON DELETE CASCADE",
    ("inspection", "asset_id"): "asset(tenant_id, id)",
    ("inspection", "work_order_id"): "work_order(tenant_id, id)",
    ("answer", "inspection_id"): "inspection(tenant_id, id) ON DELETE CASCADE",
    ("note", "work_order_id"): "work_order(tenant_id, id)",
    ("note", "author_id"): MEMBERSHIP,
    ("part_used", "work_order_id"): "work_order(tenant_id, id)",
}
FORBIDDEN = [  # table, column, value, constraint that refuses it
    ("territory", "name", "", "territory_named"),
    ("territory", "path", "/", "territory_path_fits_parent"),
    ("territory", "path", "/" * 187, "territory_not_too_deep"),
    ("site", "name", "", "site_named"),
    ("site", "latitude", 90.01, "site_latitude_on_earth"),
    ("site", "latitude", float("nan"), "site_latitude_on_earth"),
    ("site", "longitude", -180.01, "site_longitude_on_earth"),
    ("asset", "category", "", "asset_has_category"),
    ("asset", "status", "lost", "asset_status_known"),
    ("asset", "attributes", "[]", "asset_attributes_are_object"),
    ("work_order", "number", "", "work_order_numbered"),
    ("work_order", "title", "", "work_order_titled"),
    ("work_order", "kind", "party", "work_order_kind_known"),
    ("work_order", "status", "lost", "work_order_status_known"),
    ("work_order", "priority", 0, "work_order_priority_known"),
    ("work_order", "priority", 6, "work_order_priority_known"),
    ("task", "text", "", "task_says_what"),
    ("inspection", "template_code", "", "inspection_has_template"),
    ("inspection", "template_version", 0, "inspection_template_version_counts"),
    ("inspection", "status", "lost", "inspection_status_known"),
    ("answer", "item_code", "", "answer_has_item"),
    ("note", "text", "", "note_says_something"),
    ("part_used", "sku", "", "part_used_has_sku"),
    ("part_used", "unit", "", "part_used_has_unit"),
    ("part_used", "quantity", "0", "part_used_of_some"),
]


@pytest.fixture
def rows(wales: World) -> World:
    """Return a tenant with one row in every table, and two in `work_order`."""
    asset, order, other, inspection = (str(uuid7()) for _ in range(4))
    child = str(uuid7())
    apply(
        wales,
        local_edits.create("assets", {"site": wales.site, "category": "Pump"}, asset),
        local_edits.create(
            "work_orders", wales.order(tasks=[{"id": child, "text": "Look"}]), order
        ),
        local_edits.create("work_orders", wales.order(), other),
        local_edits.create("notes", {"work_order": order, "text": "Late"}),
        local_edits.create(
            "parts_used", {"work_order": order, "sku": "A1", "quantity": "1", "unit": "pc"}
        ),
        local_edits.create(
            "inspections",
            {"asset": asset, "template_code": "T", "answers": [{"id": child, "item_code": "1"}]},
            inspection,
        ),
    )
    return wales


def test_keys_and_references_carry_the_tenant(db: None) -> None:
    """So no row can point into another tenant, and two tenants may use the same ids."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT conrelid::regclass::text, contype, pg_get_constraintdef(oid) "
            "FROM pg_constraint WHERE contype IN ('p', 'f') AND conrelid::regclass::text = ANY(%s)",
            [list(KEYS)],
        )
        found = cursor.fetchall()

    assert {table: text for table, kind, text in found if kind == "p"} == KEYS
    assert {(table, text) for table, kind, text in found if kind == "f"} == {
        (table, f"FOREIGN KEY (tenant_id, {column}) REFERENCES {target}")
        for (table, column), target in REFERENCES.items()
    }


def index_columns() -> dict[str, list[list[str]]]:
    """Return the columns of each index of each table, the key's first."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT indrelid::regclass::text, array(SELECT attname::text FROM unnest(indkey) "
            "WITH ORDINALITY AS k(n, place) JOIN pg_attribute ON attrelid = indrelid "
            "AND attnum = k.n ORDER BY place) FROM pg_index "
            "WHERE indrelid::regclass::text = ANY(%s) ORDER BY NOT indisprimary",
            [list(KEYS)],
        )
        found: dict[str, list[list[str]]] = {}
        for table, columns in cursor.fetchall():
            found.setdefault(table, []).append(columns)
    return found


def test_every_reference_has_an_index_that_serves_it(db: None) -> None:
    """Deleting a row, and finding its children, would scan the whole table without one."""
    indexes = index_columns()

    missing = [
        (table, column)
        for table, column in REFERENCES
        if not any({column, "tenant_id"} == set(columns[:2]) for columns in indexes[table])
    ]
    assert missing == []


def test_nothing_competes_with_the_key_of_a_new_table(db: None) -> None:
    """Before the first ANALYZE an index that starts with the tenant looks as good as the key.

    A check of a reference then reads all rows of the tenant: 20,000 jobs took minutes to import.
    """
    competitors = {
        table: [columns for columns in rest if columns[:1] == ["tenant_id"]]
        for table, (_, *rest) in index_columns().items()
    }

    assert {table for table, found in competitors.items() if found} == set()


@pytest.mark.parametrize(("table", "column", "value", "constraint"), FORBIDDEN)
def test_database_refuses(
    rows: World, table: str, column: str, value: Any, constraint: str
) -> None:
    """Whatever code forgets to check, the table does not take."""
    assert constraint in refusal_of(f"UPDATE {table} SET {column} = %s", value)


def test_number_is_given_once_in_a_tenant(rows: World) -> None:
    assert "work_order_number_once" in refusal_of("UPDATE work_order SET number = %s", "WO-1")


def test_numbers_of_another_tenant_do_not_matter(rows: World, northwind: World) -> None:
    (result,) = apply(northwind, local_edits.create("work_orders", northwind.order()))

    with connection.cursor() as cursor:
        cursor.execute("SELECT number FROM work_order WHERE id = %s", [result.mutation.id])
        assert cursor.fetchone() == ("WO-000001",)


def test_row_cannot_name_a_row_of_another_tenant(rows: World, northwind: World) -> None:
    text = refusal_of("UPDATE work_order SET site_id = %s", northwind.site)

    assert "work_order_site_ref" in text


def test_row_cannot_name_a_member_of_another_tenant(rows: World, northwind: World) -> None:
    stranger = northwind.hire()

    text = refusal_of("UPDATE work_order SET assignee_id = %s", stranger.user_id)

    assert "work_order_assignee_ref" in text


def test_assignee_of_another_tenant_is_not_found(wales: World, northwind: World) -> None:
    """The engine says it before the database must, and to the right field."""
    stranger = northwind.hire()
    data = wales.order(assignee=str(stranger.user_id))

    with pytest.raises(EditRefused, match="assignee: No such row"):
        apply(wales, local_edits.create("work_orders", data))


def test_stream_keeps_room_for_its_updates(db: None) -> None:
    """Every commit of a tenant updates its one row; a full page would make each a new page."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT reloptions FROM pg_class WHERE relname = 'sync_stream'")
        assert cursor.fetchone() == (["fillfactor=20"],)


def apply(world: World, *mutations: Any) -> Any:
    return local_edits.apply(world.tenant.pk, mutations)


def refusal_of(sql: str, value: Any) -> str:
    with (
        pytest.raises(IntegrityError) as refused,
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(sql, [value])
    return str(refused.value)
