"""An app that is older than the server, and one that is newer: each keeps to what it knows."""

from __future__ import annotations

from typing import Any

import pytest

from backend.fieldwork.models import Answer, Inspection, WorkOrder
from tests.phones import Phone, World, create, new_id, update
from tests.scenarios.reading import outcomes

# What came with later versions of the app, as far as this old one is concerned.
SINCE_THEN = {"description": "Third floor", "due_at": "2026-12-01T08:00:00Z", "priority": 1}


@pytest.fixture
def order(dora: Phone, wales: World) -> dict[str, Any]:
    order = create("work_orders", **wales.order(**SINCE_THEN))
    assert outcomes(dora.push(order)) == ["created"]
    return order


def test_old_app_leaves_fields_that_it_does_not_know_alone(
    alice: Phone, dora: Phone, order: dict[str, Any]
) -> None:
    """It sends what it edited, and nothing of the rest: no newer field is emptied by it."""
    known = ("title", "status")
    edits = [{"title": "b"}, {"status": "in_progress"}, {"title": "c", "status": "done"}]
    for version, edit in enumerate(edits, start=1):
        assert edit.keys() <= set(known)
        alice.push(update("work_orders", order["id"], version, **edit))

    dora.pull()

    row = dora.row("work_orders", order["id"])
    assert {name: row[name] for name in SINCE_THEN} == SINCE_THEN
    assert (row["title"], row["status"]) == ("c", "done")


def test_old_app_does_not_stand_in_the_way_of_newer_fields(
    alice: Phone, dora: Phone, order: dict[str, Any]
) -> None:
    """The newer app edits a field of its own meanwhile: both edits stay, nobody is asked."""
    dora.push(update("work_orders", order["id"], 1, description="Fourth floor"))

    (result,) = alice.push(update("work_orders", order["id"], 1, title="b"))

    assert result["outcome"] == "merged"
    assert (result["current"]["description"], result["current"]["title"]) == ("Fourth floor", "b")


def test_old_app_makes_rows_without_the_newer_fields(alice: Phone, wales: World) -> None:
    """They get what the server's model says a new row has."""
    (result,) = alice.push(create("work_orders", row_id := new_id(), **wales.order()))

    row = WorkOrder.objects.get(pk=row_id)
    assert result["outcome"] == "created"
    assert (row.description, row.due_at, row.priority) == ("", None, 3)


def test_old_app_leaves_newer_members_of_an_answer_alone(
    alice: Phone, dora: Phone, wales: World
) -> None:
    """Children that are merged by id are edited field by field too."""
    asset = create("assets", site=wales.site, tag="p1", category="pump")
    answer = {"id": new_id(), "item_code": "1", "value": "ok", "note": "since version 2"}
    form = create("inspections", asset=asset["id"], template_code="T", answers=[answer])
    dora.push(asset, form)

    alice.push(update("inspections", form["id"], 1, answers=[{"id": answer["id"], "value": "x"}]))

    stored = Answer.objects.get(pk=answer["id"])
    assert (stored.value, stored.note) == ("x", "since version 2")


def test_field_that_the_server_does_not_know_takes_only_its_row_along(
    alice: Phone, wales: World, order: dict[str, Any]
) -> None:
    """The app was upgraded first: it is told which field, and all other work goes through."""
    new = create("work_orders", **wales.order(colour="red"))
    others = [create("work_orders", **wales.order()) for _ in range(2)]
    edit = update("work_orders", order["id"], 1, colour="red", title="b")

    results = alice.push(others[0], new, edit, others[1])

    assert outcomes(results) == ["created", "invalid", "invalid", "created"]
    for line in results[1:3]:
        assert line["code"] == "validation_failed"
        assert [(e["path"], e["code"]) for e in line["errors"]] == [("colour", "unknown_field")]
    assert WorkOrder.objects.get(pk=order["id"]).version == 1  # no half of the edit either
    assert not WorkOrder.objects.filter(pk=new["id"]).exists()


def test_field_of_a_child_that_the_server_does_not_know_is_named_with_its_place(
    alice: Phone, wales: World
) -> None:
    """In both kinds of lists; a row beside it is saved."""
    asset = create("assets", site=wales.site, tag="p1", category="pump")
    task = {"id": new_id(), "position": 1, "text": "x", "colour": "red"}
    answers = [
        {"id": new_id(), "item_code": "1"},
        {"id": new_id(), "item_code": "2", "colour": "red"},
    ]
    form = create("inspections", asset=asset["id"], template_code="T", answers=answers)

    results = alice.push(asset, create("work_orders", **wales.order(tasks=[task])), form)

    assert outcomes(results) == ["created", "invalid", "invalid"]
    assert [[(e["path"], e["code"]) for e in line["errors"]] for line in results[1:]] == [
        [("tasks.0.colour", "unknown_field")], [("answers.1.colour", "unknown_field")],
    ]  # fmt: skip
    assert not Inspection.objects.exists()


def test_collection_that_the_server_does_not_know_takes_only_its_rows_along(
    alice: Phone, wales: World
) -> None:
    """A whole new kind of row, from an app that came before its server."""
    results = alice.push(
        create("meters", reading=1), create("work_orders", **wales.order()), create("meters")
    )

    assert outcomes(results) == ["invalid", "created", "invalid"]
    assert [(e["path"], e["code"]) for e in results[0]["errors"]] == [
        ("collection", "unknown_collection")
    ]


def test_unknown_field_and_all_or_nothing(alice: Phone, wales: World) -> None:
    """The batch falls as it was asked to; the one culprit is told apart from the innocent."""
    rows = [create("work_orders", **wales.order()) for _ in range(3)]
    rows[1]["data"]["colour"] = "red"

    results = alice.push(*rows, policy="all_or_nothing")

    assert outcomes(results) == ["not_applied", "invalid", "not_applied"]
    assert {results[n]["blocked_by"]["id"] for n in (0, 2)} == {rows[1]["id"]}
