"""Two people and one row: edit against edit, edit against delete, in every order."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from backend.fieldwork.collections import Sites
from backend.fieldwork.models import Site, WorkOrder
from sync.registry import register
from sync.types import Wire
from tests.phones import Phone, World, create, delete, new_id, update
from tests.scenarios.reading import outcomes

# --- edit against edit ------------------------------------------------------------------------


@pytest.fixture
def anna(wales: World) -> Phone:
    return wales.hire("supervisor")


@pytest.fixture
def ben(wales: World) -> Phone:
    return wales.hire("supervisor")


def inspection_of(phone: Phone, wales: World) -> tuple[str, list[str]]:
    """Return an inspection with three answers, and the answers' ids."""
    asset = create("assets", site=wales.site, tag="p1", category="pump")
    answers = [{"id": new_id(), "item_code": code, "value": "ok"} for code in "abc"]
    form = create("inspections", asset=asset["id"], template_code="T", answers=answers)
    assert outcomes(phone.push(asset, form)) == ["created"] * 2
    return form["id"], [answer["id"] for answer in answers]


def test_second_supervisor_of_an_inspection_is_asked_and_decides(
    anna: Phone, ben: Phone, wales: World
) -> None:
    """What the first one wrote stands until the second has seen it; then they edit on top of it."""
    form, (first, *_) = inspection_of(anna, wales)
    anna.push(update("inspections", form, 1, answers=[{"id": first, "value": "leaks"}]))
    mine = [{"id": first, "value": "dry"}]

    (late,) = ben.push(update("inspections", form, 1, answers=mine))
    (decided,) = ben.push(update("inspections", form, late["version"], answers=mine))

    assert (late["outcome"], late["code"]) == ("conflict", "version_mismatch")
    assert late["fields"] == [f"answers.{first}"]
    assert (late["base_version"], late["version"]) == (1, 2)
    assert late["current"]["answers"][0]["value"] == "leaks"
    assert (decided["outcome"], decided["version"]) == ("updated", 3)
    anna.pull()
    assert anna.row("inspections", form)["answers"][0]["value"] == "dry"


def test_conflict_shows_the_row_and_not_what_both_agree_on(
    anna: Phone, ben: Phone, wales: World
) -> None:
    """Of three fields that both edited, one differs: the app asks about that one alone."""
    order = create("work_orders", **wales.order())
    anna.push(order)
    anna.push(update("work_orders", order["id"], 1, title="a", priority=1, description="leaks"))

    (late,) = ben.push(
        update("work_orders", order["id"], 1, title="b", priority=1, description="leaks")
    )

    assert (late["outcome"], late["fields"]) == ("conflict", ["title"])
    assert late["current"]["title"] == "a"


@pytest.mark.parametrize("first", ["anna", "ben"])
def test_different_fields_go_together_whoever_comes_first(
    first: str, anna: Phone, ben: Phone, wales: World
) -> None:
    """Neither is asked anything, and both end up with the same row."""
    order = create("work_orders", **wales.order())
    anna.push(order)
    edits = [
        (anna, update("work_orders", order["id"], 1, title=f"{wales.canary} a")),
        (ben, update("work_orders", order["id"], 1, description="leaks")),
    ]

    results = [phone.push(edit)[0] for phone, edit in (edits if first == "anna" else edits[::-1])]

    assert [(line["outcome"], line["version"]) for line in results] == [
        ("updated", 2), ("merged", 3),
    ]  # fmt: skip
    for phone in (anna, ben):
        phone.pull()
        row = phone.row("work_orders", order["id"])
        assert (row["title"], row["description"]) == (f"{wales.canary} a", "leaks")


# --- edit against delete ----------------------------------------------------------------------

EDIT, DELETE, LATE_DELETE = "edit", "delete", "late delete"


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ("edit", "delete", ["updated", "conflict"]),
        ("delete", "edit", ["deleted", "gone"]),
        ("delete", "delete", ["deleted", "unchanged"]),
    ],
)
def test_edit_and_delete_from_two_phones(
    first: str, second: str, expected: list[str], dora: Phone, wales: World
) -> None:
    """The edit wins over a delete that did not know of it; an edit of what is gone is told so."""
    eric = wales.hire("dispatcher")
    order, other, more = (create("work_orders", **wales.order()) for _ in range(3))
    dora.push(order)
    do = {
        "edit": update("work_orders", order["id"], 1, title="b"),
        "delete": delete("work_orders", order["id"], 1),
    }

    before, *queue = dora.push(do[first], other)
    late, *late_queue = eric.push(do[second], more)

    assert [before["outcome"], late["outcome"]] == expected
    assert outcomes(queue + late_queue) == ["created", "created"]  # both queues go on
    if late["outcome"] == "conflict":
        assert (late["code"], late["fields"]) == ("edited_since", ["title"])
        assert late["current"]["title"] == "b"
    if late["outcome"] == "gone":
        assert late["code"] == "row_deleted"
    is_there = WorkOrder.objects.filter(pk=order["id"]).exists()
    assert is_there is (expected[0] == "updated")


def test_edits_and_deletes_of_one_push_against_those_of_another(dora: Phone, wales: World) -> None:
    """Four rows, each edited or deleted by both: every line has its answer, and the rest goes on."""
    eric = wales.hire("dispatcher")
    rows = [create("work_orders", **wales.order()) for _ in range(4)]
    dora.push(*rows)
    pairs = list(itertools.product(("edit", "delete"), repeat=2))

    def batch(phone: int) -> list[dict[str, Any]]:
        return [
            update("work_orders", row["id"], 1, title=f"t{phone}")
            if pair[phone] == "edit"
            else delete("work_orders", row["id"], 1)
            for row, pair in zip(rows, pairs, strict=True)
        ]

    dora.push(*batch(0))
    results = eric.push(*batch(1), create("work_orders", **wales.order()))

    by_pair = dict(zip(pairs, outcomes(results), strict=False))
    assert by_pair == {
        ("edit", "edit"): "conflict", ("edit", "delete"): "conflict",
        ("delete", "edit"): "gone", ("delete", "delete"): "unchanged",
    }  # fmt: skip
    assert results[-1]["outcome"] == "created"


@pytest.mark.parametrize(
    ("ops", "expected"),
    [
        ((EDIT, DELETE),              ["updated", "deleted"]),
        ((EDIT, EDIT, DELETE),        ["updated", "updated", "deleted"]),
        ((DELETE, EDIT),              ["not_applied", "gone"]),
        ((EDIT, DELETE, EDIT),        ["not_applied", "not_applied", "gone"]),
        ((DELETE, DELETE),            ["deleted", "unchanged"]),
    ],
)  # fmt: skip
def test_edit_and_delete_in_one_push(
    ops: tuple[str, ...], expected: list[str], dora: Phone, wales: World
) -> None:
    """In the order given. A row's mutations stand or fall together; the next row goes on."""
    order = create("work_orders", **wales.order())
    dora.push(order)
    mutations = [
        update("work_orders", order["id"], 1, title=f"t{n}")
        if op == EDIT
        else delete("work_orders", order["id"], 1)
        for n, op in enumerate(ops)
    ]

    results = dora.push(*mutations, create("work_orders", **wales.order()))

    assert outcomes(results) == [*expected, "created"]
    assert WorkOrder.objects.filter(pk=order["id"]).exists() is ("deleted" not in expected)


def test_edit_and_delete_of_one_push_meet_an_edit_of_another_phone(
    dora: Phone, wales: World
) -> None:
    """Neither the edit nor the delete behind it knew of it: both are told, and the row stays."""
    eric = wales.hire("dispatcher")
    order = create("work_orders", **wales.order())
    dora.push(order, update("work_orders", order["id"], 1, title="theirs"))

    results = eric.push(
        update("work_orders", order["id"], 1, priority=1),
        delete("work_orders", order["id"], 1),
        create("work_orders", **wales.order()),
    )

    assert outcomes(results) == ["not_applied", "conflict", "created"]
    assert (results[1]["code"], results[1]["fields"]) == ("edited_since", ["title"])
    assert WorkOrder.objects.get(pk=order["id"]).title == "theirs"


def test_work_on_a_deleted_row_goes_into_a_new_one(dora: Phone, wales: World) -> None:
    """`gone` is no dead end: the app makes the row again, under a new id."""
    order = create("work_orders", **wales.order())
    dora.push(order)
    dora.push(delete("work_orders", order["id"], 1))

    again, anew = dora.push(order, {**order, "id": new_id()})

    assert (again["outcome"], anew["outcome"]) == ("gone", "created")


# --- a policy of the project's own ------------------------------------------------------------


def keep_both_notes(current: Wire, edit: Wire, overlap: frozenset[str]) -> Wire | None:
    """Nobody's access notes are lost; other fields are asked about if both edited them."""
    if overlap - {"access_notes"}:
        return None
    merged = {**current, **edit}
    if "access_notes" in overlap:
        merged["access_notes"] = f"{current['access_notes']}\n{edit['access_notes']}"
    return merged


@pytest.fixture
def own_policy() -> Iterator[None]:
    """Let sites be merged by a function, as a project may declare it."""

    class SitesWithNotes(Sites):
        __qualname__ = Sites.__qualname__
        conflicts = keep_both_notes

    register(SitesWithNotes)
    yield
    register(Sites)


@pytest.mark.usefixtures("own_policy")
def test_own_policy_merges_what_both_wrote(
    alice: Phone, bob: Phone, dora: Phone, wales: World
) -> None:
    """Both texts reach every phone, and the answer shows the row as it is now."""
    alice.push(update("sites", wales.site, 1, access_notes="Key at the gate"))

    (merged,) = bob.push(update("sites", wales.site, 1, access_notes="Beware of the dog"))

    both = "Key at the gate\nBeware of the dog"
    assert (merged["outcome"], merged["version"]) == ("merged", 3)
    assert merged["current"]["access_notes"] == both
    assert Site.objects.get(pk=wales.site).access_notes == both
    for phone in (alice, bob, dora):
        phone.pull()
        assert phone.row("sites", wales.site)["access_notes"] == both


@pytest.mark.usefixtures("own_policy")
def test_own_policy_may_leave_it_to_the_people(dora: Phone, wales: World) -> None:
    """It returns no row: a conflict like any other, with fields and the row."""
    eric = wales.hire("dispatcher")
    dora.push(update("sites", wales.site, 1, customer="Harbour Board", access_notes="a"))

    late, other = eric.push(
        update("sites", wales.site, 1, customer="Port Authority", access_notes="b"),
        update("sites", wales.other_site, 1, access_notes="c"),
    )

    assert (late["outcome"], late["fields"]) == ("conflict", ["access_notes", "customer"])
    assert late["current"]["customer"] == "Harbour Board"
    assert other["outcome"] == "updated"


@pytest.mark.usefixtures("own_policy")
def test_own_policy_is_asked_only_when_the_row_moved_on(alice: Phone, wales: World) -> None:
    """An edit on the newest version says what it means: the text is replaced."""
    alice.push(update("sites", wales.site, 1, access_notes="Key at the gate"))

    (edited,) = alice.push(update("sites", wales.site, 2, access_notes="No key"))

    assert (edited["outcome"], edited["version"]) == ("updated", 3)
    assert Site.objects.get(pk=wales.site).access_notes == "No key"


@pytest.mark.usefixtures("own_policy")
def test_what_an_own_policy_makes_is_judged_like_any_edit(alice: Phone, wales: World) -> None:
    """It decides between two people's edits, not who may edit what."""
    wales.hire("dispatcher").push(update("sites", wales.site, 1, access_notes="a"))

    (result,) = alice.push(update("sites", wales.site, 1, customer="mine"))

    assert (result["outcome"], result["code"]) == ("forbidden", "fields_forbidden")


@pytest.mark.usefixtures("own_policy")
def test_resend_is_not_merged_twice(alice: Phone, bob: Phone, wales: World) -> None:
    """The answer was lost: the dog is not to be mentioned twice."""
    alice.push(update("sites", wales.site, 1, access_notes="Key at the gate"))
    edit = update("sites", wales.site, 1, access_notes="Beware of the dog")
    first = bob.push_raw({"mutations": [edit]}, "k")

    assert bob.push_raw({"mutations": [edit]}, "k").content == first.content
    assert Site.objects.get(pk=wales.site).access_notes == "Key at the gate\nBeware of the dog"
