"""Numbers, authors, and values that a phone may or may not send."""

from __future__ import annotations

from typing import Any

import pytest

from backend.fieldwork.models import Note, WorkOrder
from sync import local_edits
from tests.phones import World, create, new_id, update


def numbers(world: World) -> list[str]:
    rows = WorkOrder.objects.filter(tenant_id=world.tenant.pk).order_by("number")
    return list(rows.values_list("number", flat=True))


def test_work_orders_are_numbered_in_each_tenant(wales: World, northwind: World) -> None:
    phone, other = wales.hire(), northwind.hire()

    phone.push(create("work_orders", **wales.order()), create("work_orders", **wales.order()))
    phone.push(create("work_orders", **wales.order()))
    other.push(create("work_orders", **northwind.order()))

    assert numbers(wales) == ["WO-000001", "WO-000002", "WO-000003"]
    assert numbers(northwind) == ["WO-000001"]


def test_number_reaches_the_phone_and_is_not_its_to_give(wales: World) -> None:
    phone, order = wales.hire(), new_id()

    (made,) = phone.push(create("work_orders", order, **wales.order()))
    (refused,) = phone.push(update("work_orders", order, 1, number="WO-9"))
    phone.pull()

    assert made["outcome"] == "created"
    assert [(e["path"], e["code"]) for e in refused["errors"]] == [("number", "read_only")]
    assert phone.row("work_orders", order)["number"] == "WO-000001"


def test_note_is_signed_by_who_pushed_it(wales: World) -> None:
    """Whoever it claims to be from."""
    phone, other, order, note = wales.hire(), wales.hire(), new_id(), new_id()
    phone.push(create("work_orders", order, **wales.order()))

    phone.push(create("notes", note, work_order=order, text="Mine"))
    (forged,) = phone.push(
        create("notes", work_order=order, text="His", author=str(other.user_id))
    )

    assert Note.objects.get(pk=note).author_id == phone.user_id
    assert [(e["path"], e["code"]) for e in forged["errors"]] == [("author", "read_only")]


def test_note_of_the_office_has_no_author(wales: World) -> None:
    order = new_id()
    local_edits.apply(
        wales.tenant.pk,
        [
            local_edits.create("work_orders", wales.order(), order),
            local_edits.create("notes", {"work_order": order, "text": "Call first"}),
        ],
    )

    assert Note.objects.get().author_id is None


def test_assigned_work_order_follows_its_assignee(wales: World) -> None:
    """Tom holds another territory, and sees the order, but not the site's other orders."""
    tess, tom = wales.hire(), wales.hire(territories=[wales.newport])
    order, other = new_id(), new_id()
    tess.push(
        create("work_orders", order, **wales.order(assignee=str(tom.user_id))),
        create("work_orders", other, **wales.order()),
    )

    tom.pull()

    assert ("work_orders", order) in tom.rows
    assert ("work_orders", other) not in tom.rows


@pytest.mark.parametrize(
    ("collection", "field", "value", "code"),
    [
        ("sites",       "latitude",   91,              "max_value"),
        ("sites",       "latitude",   "51.5",          "invalid"),
        ("sites",       "latitude",   True,            "invalid"),
        ("sites",       "longitude",  -181,            "min_value"),
        ("sites",       "name",       "",              "blank"),
        ("sites",       "name",       "x" * 201,       "max_length"),
        ("assets",      "attributes", [1],             "not_an_object"),
        ("assets",      "status",     "lost",          "invalid_choice"),
        ("work_orders", "priority",   0,               "min_value"),
        ("work_orders", "priority",   6,               "max_value"),
        ("work_orders", "kind",       "party",         "invalid_choice"),
        ("work_orders", "site",       "nowhere",       "invalid"),
        ("work_orders", "due_at",     "tomorrow",      "invalid"),
        ("work_orders", "tasks",      [{}] * 201,      "max_length"),
        ("parts_used",  "quantity",   "0",             "min_value"),
        ("parts_used",  "quantity",   "-1",            "min_value"),
        ("parts_used",  "quantity",   "0.0001",        "max_decimal_places"),
        ("parts_used",  "quantity",   "1234567890.5",  "max_whole_digits"),
        ("inspections", "template_version", 2**31,     "max_value"),
    ],
)  # fmt: skip
def test_phone_learns_what_is_wrong_with_a_value(
    wales: World, collection: str, field: str, value: Any, code: str
) -> None:
    phone = wales.hire("dispatcher")
    asset = new_id()
    phone.push(create("assets", asset, site=wales.site, category="Pump"))
    data: dict[str, dict[str, Any]] = {
        "sites": {"name": "A", "territory": wales.cardiff},
        "assets": {"site": wales.site, "category": "Pump"},
        "work_orders": wales.order(),
        "inspections": {"asset": asset, "template_code": "T"},
        "parts_used": {"work_order": new_id(), "sku": "A", "quantity": "1", "unit": "pc"},
    }

    (result,) = phone.push(create(collection, **data[collection] | {field: value}))

    assert result["outcome"] == "invalid"
    assert code in {e["code"] for e in result["errors"] if e["path"].partition(".")[0] == field}


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_coordinate_is_a_number_that_json_can_say(value: float) -> None:
    from backend.fieldwork.serializers import SiteSerializer

    serializer = SiteSerializer(data={"name": "A", "territory": new_id(), "latitude": value})

    assert not serializer.is_valid()
    assert set(serializer.errors) == {"latitude"}
