"""Children that were edited on a phone, against both ways in which the server takes a list."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

import fieldsync
from tests.e2e.conftest import Make


def make_order(tess: fieldsync.Client) -> tuple[str, str, list[dict[str, Any]]]:
    """A list that the server replaces."""
    site = tess.collection("sites").all()[0].id
    orders = tess.collection("work_orders")
    order = orders.create({"kind": "repair", "site": site, "title": "Pump", "tasks": []})
    return "work_orders", order, [{"position": at, "text": text} for at, text in enumerate("abc")]


def make_form(tess: fieldsync.Client) -> tuple[str, str, list[dict[str, Any]]]:
    """A list that the server merges by id."""
    asset = tess.collection("assets").all()[0].id
    forms = tess.collection("inspections")
    form = forms.create({"asset": asset, "template_code": "T", "answers": []})
    return "inspections", form, [{"item_code": code, "value": "ok"} for code in "abc"]


@pytest.mark.parametrize(
    ("make", "name", "field"), [(make_order, "tasks", "text"), (make_form, "answers", "value")]
)
def test_children_are_added_changed_and_removed(
    phone: Make, make: Any, name: str, field: str
) -> None:
    """Offline and online, in one edit and in several: both phones end with the same list."""
    tess, again = phone("tess"), phone("tess")
    tess.sync()
    collection, row_id, children = make(tess)
    rows = tess.collection(collection)
    with rows.edit(row_id) as row:  # before the server has heard of it
        row[name] += children[:2]
    with rows.edit(row_id) as row:
        del row[name][1]
        row[name].append(children[1])
    tess.sync()

    with rows.edit(row_id) as row:
        row[name][0][field] = "changed"
        del row[name][1]
    with rows.edit(row_id) as row:  # the one that was removed is out of sight already
        assert len(row[name]) == 1
        row[name].append(children[2])
    tess.sync()
    again.sync()

    assert tess.issues() == []
    row_here, row_there = rows.get(row_id), again.collection(collection).get(row_id)
    assert row_here is not None
    assert row_there is not None
    assert row_here.data == row_there.data
    assert [child[field] for child in row_here.data[name]] == ["changed", children[2][field]]


class Task(msgspec.Struct):
    text: str
    position: int = 0
    id: str = ""


class Order(msgspec.Struct):
    title: str
    tasks: list[Task] = []
    id: str = ""


def test_object_that_is_kept_over_a_sync_is_in_conflict_with_nobody(phone: Make) -> None:
    """The server fills in what the class does not know, of the row and of its children."""
    tess = phone("tess")
    tess.sync()
    _, row_id, _ = make_order(tess)
    tess.sync()
    orders = tess.collection("work_orders", Order)
    order = orders.get(row_id)
    assert order is not None

    for text in ("drain", "refill"):
        order.tasks.append(Task(text=text, position=len(order.tasks)))
        orders.save(order)
        tess.sync()
        assert tess.issues() == []

    there = tess.collection("work_orders").get(row_id)
    assert there is not None
    assert [task["text"] for task in there.data["tasks"]] == ["drain", "refill"]
    assert there.data["tasks"][0].keys() > {"id", "text", "position"}
