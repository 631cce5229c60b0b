"""Lists of children: `replace` sends the whole list, `merge_by_id` single children of it."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from backend.fieldwork.models import Answer, Inspection
from sync import local_edits
from tests.phones import Phone, World, create, new_id, update
from tests.scenarios.reading import outcomes


def answer(code: str, value: str = "ok", **more: Any) -> dict[str, Any]:
    return {"id": new_id(), "item_code": code, "value": value, **more}


class Form:
    """An inspection with a few answers, and its newest version."""

    def __init__(self, phone: Phone, world: World, codes: str = "abc") -> None:
        self.phone = phone
        asset = create("assets", site=world.site, tag="p1", category="pump")
        self.answers = [answer(code) for code in codes]
        form = create(
            "inspections", asset=asset["id"], template_code="T", answers=list(self.answers)
        )
        self.id: str = form["id"]
        self.version = 1
        assert outcomes(phone.push(asset, form)) == ["created", "created"]

    def edit(self, *answers: dict[str, Any], base: int | None = None) -> dict[str, Any]:
        (result,) = self.phone.push(
            update("inspections", self.id, base or self.version, answers=list(answers))
        )
        self.version = result.get("version", self.version)
        return result

    def stored(self) -> dict[str, str]:
        self.phone.pull()
        rows = self.phone.row("inspections", self.id)["answers"]
        assert [row["item_code"] for row in rows] == sorted(row["item_code"] for row in rows)
        return {row["item_code"]: row["value"] for row in rows}


@pytest.fixture
def form(alice: Phone, wales: World) -> Form:
    return Form(alice, wales)


def test_edit_of_one_answer_leaves_the_others(form: Form) -> None:
    """A form of 250 answers need not travel for one of them."""
    result = form.edit({"id": form.answers[1]["id"], "value": "leaks"})

    assert result["outcome"] == "updated"
    assert form.stored() == {"a": "ok", "b": "leaks", "c": "ok"}


def test_edits_by_id_add_and_remove_children(form: Form) -> None:
    """One edit may do all three."""
    form.edit(
        {"id": form.answers[0]["id"], "deleted": True},
        {"id": form.answers[1]["id"], "value": "leaks"},
        answer("0", "new"),
    )

    assert form.stored() == {"0": "new", "b": "leaks", "c": "ok"}


def test_equal_edit_of_a_child_is_unchanged(form: Form) -> None:
    """Sent again under a new key it makes no version, and wakes no phone."""
    edit = {"id": form.answers[1]["id"], "value": "leaks"}
    form.edit(edit)

    assert form.edit(edit, {"id": new_id(), "deleted": True})["outcome"] == "unchanged"
    assert Inspection.objects.get(pk=form.id).version == 2


def test_only_children_that_differ_are_written(form: Form) -> None:
    """An edit of one answer must not rewrite the other 249."""

    def places() -> dict[str, Any]:
        with connection.cursor() as cursor:
            cursor.execute("SELECT item_code, ctid::text FROM answer")
            return dict(cursor.fetchall())

    before = places()

    form.edit({"id": form.answers[1]["id"], "value": "leaks"})

    after = places()
    assert {code for code in "abc" if before[code] != after[code]} == {"b"}


@pytest.mark.parametrize(
    ("edit", "path", "code"),
    [
        ([{"id": new_id()}], "answers.0.item_code", "required"),
        ([{"value": "x"}], "answers.0.id", "required"),
        ([{"id": "nonsense"}], "answers.0.id", "invalid"),
        ([{"id": new_id(), "item_code": "x", "extra": 1}], "answers.0.extra", "unknown_field"),
        ([answer("x"), answer("y" * 65)], "answers.1.item_code", "max_length"),
        ([{"id": new_id(), "deleted": False}], "answers.0.deleted", "unknown_field"),
        (["x"], "answers.0", "invalid"),
        ("x", "answers", "not_a_list"),
        (None, "answers", "null"),
        ([answer(str(n)) for n in range(1_000)], "answers", "max_length"),
    ],
)
def test_bad_edit_of_a_child_is_named_with_its_place(
    edit: Any, path: str, code: str, form: Form
) -> None:
    """The app shows the error at the very answer."""
    (result,) = form.phone.push(update("inspections", form.id, 1, answers=edit))

    assert result["outcome"] == "invalid"
    assert (path, code) in {(e["path"], e["code"]) for e in result["errors"]}
    assert Inspection.objects.get(pk=form.id).version == 1


def test_two_edits_of_one_child_in_one_list_are_refused(form: Form) -> None:
    """Which of them is meant cannot be told."""
    edit = {"id": form.answers[0]["id"], "value": "x"}

    (result,) = form.phone.push(update("inspections", form.id, 1, answers=[edit, edit]))

    assert [(e["path"], e["code"]) for e in result["errors"]] == [("answers.1.id", "unique")]


def test_removal_says_nothing_else(form: Form) -> None:
    """A removal that also edits contradicts itself."""
    edit = {"id": form.answers[0]["id"], "deleted": True, "nonsense": 1}

    (result,) = form.phone.push(update("inspections", form.id, 1, answers=[edit]))

    assert [(e["path"], e["code"]) for e in result["errors"]] == [
        ("answers.0.nonsense", "unknown_field")
    ]


def test_edit_of_a_child_that_was_removed_meanwhile_is_a_conflict(
    form: Form, bob: Phone, wales: World
) -> None:
    """It is not wrong, it came too late; the app is told which child it is about."""
    gone = form.answers[0]["id"]
    form.edit({"id": gone, "deleted": True})

    (result,) = bob.push(
        update("inspections", form.id, 1, answers=[{"id": gone, "value": "late"}])
    )

    assert (result["outcome"], result["fields"]) == ("conflict", [f"answers.{gone}"])


def test_children_are_edited_by_the_office_too(form: Form, wales: World) -> None:
    """The same edits by id, through the same engine."""
    edit = {"answers": [{"id": form.answers[2]["id"], "note": "seen"}]}
    local_edits.apply(wales.tenant.pk, [local_edits.update("inspections", form.id, edit)])

    assert form.stored() == {"a": "ok", "b": "ok", "c": "ok"}
    assert Answer.objects.get(pk=form.answers[2]["id"]).note == "seen"


def test_several_edits_of_children_in_one_push_build_on_each_other(form: Form) -> None:
    """Each sees the one before, as edits of fields do."""
    new = answer("d")
    results = form.phone.push(
        update("inspections", form.id, 1, answers=[new]),
        update("inspections", form.id, 1, answers=[{"id": new["id"], "value": "later"}]),
        update("inspections", form.id, 1, answers=[{"id": form.answers[0]["id"], "deleted": True}]),
    )  # fmt: skip

    assert [line["version"] for line in results] == [2, 3, 4]
    assert form.stored() == {"b": "ok", "c": "ok", "d": "later"}


def test_children_of_all_parents_are_written_together(alice: Phone, wales: World) -> None:
    """Three forms cost as many queries as one."""
    forms = [Form(alice, wales) for _ in range(4)]

    def cost(some: list[Form]) -> int:
        edits = [
            update("inspections", form.id, 1, answers=[
                {"id": form.answers[0]["id"], "deleted": True},
                {"id": form.answers[1]["id"], "value": "x"},
                answer("z"),
            ])
            for form in some
        ]  # fmt: skip
        with CaptureQueriesContext(connection) as queries:
            assert set(outcomes(alice.push(*edits))) == {"updated"}
        return len(queries)

    assert cost(forms[:1]) == cost(forms[1:])


def test_replaced_list_is_the_new_list(alice: Phone, wales: World) -> None:
    """What is not in it any more is gone."""
    tasks = [{"id": new_id(), "position": n, "text": f"t{n}"} for n in range(3)]
    order = create("work_orders", **wales.order(tasks=tasks))
    alice.push(order)

    alice.push(update("work_orders", order["id"], 1, tasks=tasks[1:]))

    alice.pull()
    assert [t["text"] for t in alice.row("work_orders", order["id"])["tasks"]] == ["t1", "t2"]


def test_replaced_list_takes_removals_too(alice: Phone, wales: World) -> None:
    """A client that does not know how a list is declared marks what it removed, either way."""
    tasks = [{"id": new_id(), "position": n, "text": f"t{n}"} for n in range(3)]
    order = create("work_orders", **wales.order(tasks=tasks))
    alice.push(order)

    left = [*tasks[1:], {"id": tasks[0]["id"], "deleted": True}]
    (result,) = alice.push(update("work_orders", order["id"], 1, tasks=left))

    assert result["outcome"] == "updated"
    alice.pull()
    assert [t["text"] for t in alice.row("work_orders", order["id"])["tasks"]] == ["t1", "t2"]


@pytest.mark.parametrize(
    "item", [{"deleted": False}, {"deleted": True, "text": "t"}, {"deleted": "true"}]
)
def test_what_is_no_removal_is_judged_as_a_child(
    alice: Phone, wales: World, item: dict[str, Any]
) -> None:
    """Nothing that somebody wrote may be left out in silence."""
    order = create("work_orders", **wales.order())
    alice.push(order)

    tasks = [{"id": new_id(), **item}]
    (result,) = alice.push(update("work_orders", order["id"], 1, tasks=tasks))

    assert result["outcome"] == "invalid"
