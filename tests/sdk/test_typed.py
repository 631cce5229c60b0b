"""Rows as objects of the app's own classes."""

from __future__ import annotations

import copy
import dataclasses
import json
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

import fieldsync

AT = "2026-01-02T03:04:05+00:00"  # msgspec writes it otherwise


class Task(msgspec.Struct):
    id: str = ""
    text: str = ""
    at: datetime | msgspec.UnsetType = msgspec.UNSET


class WorkOrder(msgspec.Struct):
    title: str
    id: str = ""
    priority: int = 2
    due: datetime | None = None
    number: str | None = None  # given by the server
    tasks: list[Task] = []


@dataclasses.dataclass(frozen=True, slots=True)
class Note:
    text: str
    id: str = ""
    work_order: str = ""


@pytest.fixture
def orders(phone: Any) -> Any:
    return phone.client.collection("work_orders", WorkOrder)


@pytest.fixture
def row_id(server: Any, phone: Any) -> str:
    """A row of a server that knows more fields than the app does, also of children."""
    data = {
        "title": "Pump",
        "priority": 3,
        "due": AT,
        "tasks": [{"id": "t1", "text": "drain", "colour": "red", "at": AT}],
        "shade": "new in version 9",
    }
    row_id: str = phone["work_orders"].create(data, id="w1")
    phone.sync()
    return row_id


def sent(server: Any) -> dict[str, Any]:
    """The last mutation that was pushed."""
    mutation: dict[str, Any] = json.loads(server.pushes()[-1][1])["mutations"][-1]
    return mutation


def test_rows_are_objects(orders: Any, row_id: str) -> None:
    """Of the class that was declared, dates and children included."""
    expected = WorkOrder(
        id="w1",
        title="Pump",
        priority=3,
        due=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC),
        number="WO-1",
        tasks=[Task(id="t1", text="drain", at=datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))],
    )

    assert orders.get(row_id) == orders.first() == orders.all()[0] == expected
    assert orders.query(priority__gt=2) == list(orders.iterate()) == [expected]
    assert orders.get("nope") is None


def test_created_object_has_an_id_and_its_children_too(
    server: Any, phone: Any, orders: Any
) -> None:
    """What only the server gives is not sent as null."""
    order = WorkOrder(title="Seal", tasks=[Task(text="test")])

    row_id = orders.create(order)
    phone.sync()

    assert order.id == row_id
    (task,) = sent(server)["data"].pop("tasks")
    assert (task["text"], task["id"][14]) == ("test", "7")
    assert sent(server)["data"].keys() == {"title", "priority", "tasks"}
    assert orders.create(WorkOrder(title="x", id="mine")) == "mine"


def test_saved_object_sends_what_was_changed_in_it(
    server: Any, phone: Any, orders: Any, row_id: str
) -> None:
    """A date that is written otherwise is no change; nor is what the class does not know."""
    order = orders.get(row_id)
    order.priority = 1

    orders.save(order)
    phone.sync()

    assert sent(server)["data"] == {"priority": 1}
    assert server.live("work_orders")[row_id]["shade"] == "new in version 9"


def test_saving_twice_sends_each_change_once(
    server: Any, phone: Any, orders: Any, row_id: str
) -> None:
    """The object goes on from what it was saved as."""
    order = orders.get(row_id)
    order.priority = 1
    orders.save(order)
    phone.sync()
    phone["work_orders"].update(row_id, {"priority": 5})
    order.title = "Seal"
    orders.save(order)
    phone.sync()

    row = server.live("work_orders")[row_id]
    assert (row["priority"], row["title"]) == (5, "Seal")


def test_unknown_fields_of_children_stay_when_a_child_is_edited(
    server: Any, phone: Any, orders: Any, row_id: str
) -> None:
    """The app of last year must not take the colours out of this year's tasks."""
    order = orders.get(row_id)
    order.tasks[0].text = "drain and dry"
    order.tasks.append(Task(text="test"))
    orders.save(order)
    phone.sync()

    first, second = server.live("work_orders")[row_id]["tasks"]
    assert first == {"id": "t1", "text": "drain and dry", "colour": "red", "at": AT}
    assert second.keys() == {"id", "text"}

    with orders.edit(row_id) as order:
        del order.tasks[0]
    phone.sync()
    assert server.live("work_orders")[row_id]["tasks"] == [second]


def test_stale_object_does_not_undo_what_others_did(
    server: Any, phone: Any, orders: Any, row_id: str
) -> None:
    """It was on the screen while a sync brought another title: only its own change is sent."""
    order = orders.get(row_id)
    server.edit("work_orders", row_id, title="Theirs")
    phone.pull()
    order.priority = 1
    orders.save(order)
    phone.sync()
    assert (server.live("work_orders")[row_id]["title"], phone.client.issues()) == ("Theirs", [])

    server.edit("work_orders", row_id, title="Theirs again")
    phone.pull()
    order.title = "Mine"
    orders.save(order)
    phone.sync()
    (issue,) = phone.client.issues()
    assert issue.fields == ["title"]


def test_frozen_objects_are_replaced_and_saved(server: Any, phone: Any) -> None:
    """The id remembers the row, whatever became of the object."""
    notes = phone.client.collection("notes", Note)
    phone["work_orders"].create({"title": "x"}, id="w1")
    note = Note(text="rust", work_order="w1")
    notes.create(note)
    phone.sync()

    notes.save(dataclasses.replace(notes.get(note.id), text="rust, cleaned"))
    phone.sync()
    assert sent(server)["data"] == {"text": "rust, cleaned"}

    notes.save(copy.deepcopy(notes.get(note.id)))
    assert phone.client.status().pending == 0


def test_edit_gives_the_object(server: Any, phone: Any, orders: Any, row_id: str) -> None:
    """And sends what the block changed."""
    with orders.edit(row_id) as order:
        order.due = None
    phone.sync()

    assert sent(server)["data"] == {"due": None}


def test_dicts_work_beside_objects(phone: Any, orders: Any, row_id: str) -> None:
    """For what the class does not know."""
    orders.update(row_id, {"shade": "mine"})
    made = orders.create({"title": "from a dict"})

    assert orders.get(made).title == "from a dict"
    assert phone["work_orders"].get(row_id).data["shade"] == "mine"


def test_object_of_no_row_cannot_be_saved(orders: Any, phone: Any) -> None:
    """Nobody knows what was changed in it."""
    with pytest.raises(ValueError, match=r"of no row.*create"):
        orders.save(WorkOrder(title="x", id="w1"))
    with pytest.raises(TypeError, match=r"client.collection\('work_orders', YourClass\)"):
        phone["work_orders"].save(WorkOrder(title="x"))
    with pytest.raises(TypeError, match="YourClass"):
        phone["work_orders"].create(WorkOrder(title="x"))


def test_row_that_does_not_fit_says_which_and_why(phone: Any) -> None:
    """Another version of the server, or a wrong declaration."""
    phone["work_orders"].create({"title": 5}, id="w1")

    with pytest.raises(fieldsync.RowMismatch, match=r"w1 does not fit WorkOrder: .*str.*title"):
        phone.client.collection("work_orders", WorkOrder).all()


class NoId(msgspec.Struct):
    title: str


class NumberId(msgspec.Struct):
    id: int


class OtherName(msgspec.Struct, rename="upper"):
    id: str


@pytest.mark.parametrize("cls", [NoId, NumberId, OtherName, dict])
def test_class_that_cannot_hold_a_row_is_refused_at_once(phone: Any, cls: type) -> None:
    """Not at the first row."""
    with pytest.raises(TypeError, match=r"id: str|neither"):
        phone.client.collection("work_orders", cls)


def test_names_on_the_wire_may_differ_and_what_is_unset_is_not_sent(
    server: Any, phone: Any
) -> None:
    """As msgspec has it."""

    class Site(msgspec.Struct, rename={"label": "name"}):
        label: str
        id: str = ""
        note: str | msgspec.UnsetType = msgspec.UNSET

    sites = phone.client.collection("sites", Site)
    row_id = sites.create(Site(label="Pump house"))
    phone.sync()

    assert sent(server)["data"] == {"name": "Pump house"}
    assert sites.get(row_id).label == "Pump house"
