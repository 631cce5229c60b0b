"""Editing a row as one would edit a dict, and taking an edit back."""

from __future__ import annotations

import copy
from typing import Any

import pytest
from hypothesis import given, strategies as st

import fieldsync
from fieldsync.children import holds, keep_removals, list_changes, without_removals
from fieldsync.merge import Edit, coalesce, local_view
from fieldsync.wire import Op

TASKS = [{"id": "t1", "text": "drain"}, {"id": "t2", "text": "seal"}]


@pytest.fixture
def row_id(phone: Any) -> str:
    """A work order with two tasks, on the server and on the phone."""
    row_id: str = phone["work_orders"].create(
        {"title": "Pump", "priority": 3, "tasks": TASKS}, id="w1"
    )
    phone.sync()
    return row_id


def sent(server: Any) -> dict[str, Any]:
    """The fields of the last mutation that was pushed."""
    from json import loads

    fields: dict[str, Any] = loads(server.pushes()[-1][1])["mutations"][-1]["data"]
    return fields


def test_only_what_was_changed_in_the_block_is_sent(server: Any, phone: Any, row_id: str) -> None:
    """Others may have changed the rest."""
    with phone["work_orders"].edit(row_id) as row:
        row["priority"] = 1
        row["note"] = "wet"
        row["title"] = "Pump"
    phone.sync()

    assert sent(server) == {"priority": 1, "note": "wet"}


def change_and_fail(row: dict[str, Any]) -> None:
    row["priority"] = 1
    raise KeyError


def test_block_that_changes_nothing_or_fails_queues_nothing(phone: Any, row_id: str) -> None:
    """Half an edit is none."""
    with phone["work_orders"].edit(row_id) as row:
        row["priority"] = 3
    with pytest.raises(KeyError), phone["work_orders"].edit(row_id) as row:
        change_and_fail(row)

    assert phone.client.status().pending == 0


def test_children_are_edited_in_their_list(server: Any, phone: Any, row_id: str) -> None:
    """A new one gets its id, one that is taken out is removed, and the screen shows the list."""
    with phone["work_orders"].edit(row_id) as row:
        row["tasks"][0]["text"] = "drain and dry"
        del row["tasks"][1]
        row["tasks"].append({"text": "test"})
        new = row["tasks"][-1]

    here = phone["work_orders"].get(row_id).data["tasks"]
    phone.sync()

    kept = [{"id": "t1", "text": "drain and dry"}, {"id": new["id"], "text": "test"}]
    assert sent(server) == {"tasks": [*kept, {"id": "t2", "deleted": True}]}
    assert here == kept == server.live("work_orders")[row_id]["tasks"]
    assert new["id"][14] == "7"  # of a UUID


def test_field_cannot_be_taken_out(phone: Any, row_id: str) -> None:
    """The wire has no word for it: better said than silently kept."""
    edit = phone["work_orders"].edit(row_id)
    with (
        pytest.raises(fieldsync.UnsendableValue, match=r"priority cannot be taken out.*None"),
        edit as row,
    ):
        del row["priority"]


def test_edit_of_a_row_that_is_not_here(phone: Any) -> None:
    """There is nothing to give to the block."""
    with pytest.raises(fieldsync.RowNotFound), phone["work_orders"].edit("nope"):
        pytest.fail("a block without a row")


def test_edits_in_a_block_are_of_its_group(phone: Any, row_id: str) -> None:
    """The group counts that is open when the edit is made."""
    with phone.client.group("visit"), phone["work_orders"].edit(row_id) as row:
        row["priority"] = 1

    (candidate,) = phone.client._engine._outbox.list_candidates()
    assert candidate.edit.groups == {"visit"}


def test_what_somebody_else_changed_in_the_meantime_is_a_conflict(
    server: Any, phone: Any, row_id: str
) -> None:
    """A form was open for an hour: its author never saw the title that the sync brought."""
    with phone["work_orders"].edit(row_id) as row:
        server.edit("work_orders", row_id, title="Theirs")
        phone.pull()
        row["title"] = "Mine"
    phone.sync()

    (issue,) = phone.client.issues()
    assert (issue.outcome, issue.fields) == ("conflict", ["title"])
    assert server.live("work_orders")[row_id]["title"] == "Theirs"


def test_other_fields_that_changed_in_the_meantime_are_no_conflict(
    server: Any, phone: Any, row_id: str
) -> None:
    """Where edits on an old base are rejected, this one is on the newest."""
    forms = phone["inspections"]
    forms.create({"title": "a", "note": "b"}, id="i1")
    phone.sync()
    with forms.edit("i1") as row:
        server.edit("inspections", "i1", note="theirs")
        phone.pull()
        row["title"] = "mine"
    phone.sync()

    assert phone.client.issues() == []
    assert server.live("inspections")["i1"] == {"title": "mine", "note": "theirs"} | {
        "number": "WO-2"
    }


def test_stale_edit_keeps_its_base_when_it_joins_a_newer_one(
    server: Any, phone: Any, row_id: str
) -> None:
    """A quick edit on the new version must not carry the old form over it."""
    with phone["work_orders"].edit(row_id) as row:
        server.edit("work_orders", row_id, title="Theirs")
        phone.pull()
        phone["work_orders"].update(row_id, {"priority": 1})
        row["title"] = "Mine"
    phone.sync()

    assert server.live("work_orders")[row_id]["title"] == "Theirs"
    assert len(phone.client.issues()) == 1


def test_row_made_here_and_changed_by_others_while_a_form_is_open(server: Any, phone: Any) -> None:
    """The form began before the server had ever heard of the row."""
    phone["work_orders"].create({"title": "new"}, id="w1")
    with phone["work_orders"].edit("w1") as row:
        phone.sync()
        server.edit("work_orders", "w1", title="Theirs")
        phone.pull()
        row["title"] = "Mine"
    phone.sync()

    (issue,) = phone.client.issues()
    assert issue.fields == ["title"]


# undo


def test_undo_of_an_update_shows_the_row_as_it_was(phone: Any, row_id: str) -> None:
    """And says what was given up, so that an app can offer it again."""
    phone["work_orders"].update(row_id, {"priority": 1})
    phone["work_orders"].update(row_id, {"title": "x"})

    undone = phone["work_orders"].undo(row_id)

    assert (undone.op, undone.data) == ("update", {"priority": 1, "title": "x"})
    assert phone["work_orders"].get(row_id).data["title"] == "Pump"
    assert phone["work_orders"].count(title="x") == 0
    assert phone.client.status().pending == 0


def test_undo_of_a_delete_brings_the_row_back_and_of_a_create_takes_it_away(
    phone: Any, row_id: str
) -> None:
    """The person changed their mind before anybody heard of it."""
    phone["work_orders"].delete(row_id)
    made = phone["work_orders"].create({"title": "made"})

    assert phone["work_orders"].undo(row_id) == fieldsync.Undone(op=Op.DELETE, data={})
    assert phone["work_orders"].undo(made).data == {"title": "made"}
    assert [row.id for row in phone["work_orders"].all()] == [row_id]


def test_undo_of_nothing_is_nothing(phone: Any, row_id: str) -> None:
    """Pressed twice."""
    assert phone["work_orders"].undo(row_id) is None


def test_undo_of_what_is_on_its_way_is_refused(server: Any, phone: Any, row_id: str) -> None:
    """It may be on the server: only a later edit can change it. What came behind it may go."""
    phone["work_orders"].update(row_id, {"priority": 1})

    def undo(path: str) -> None:
        server.before_answer = lambda path: None
        with pytest.raises(fieldsync.AlreadySent, match="on its way"):
            phone["work_orders"].undo(row_id)
        phone["work_orders"].update(row_id, {"title": "behind"})
        assert phone["work_orders"].undo(row_id).data == {"title": "behind"}

    server.before_answer = undo
    phone.sync()

    assert server.live("work_orders")[row_id]["priority"] == 1
    assert phone["work_orders"].get(row_id).data["title"] == "Pump"


# lists of children, as the merge sees them

REMOVAL = {"id": "t2", "deleted": True}


def test_removal_outlives_the_next_edit_of_the_list() -> None:
    """The second list was made on a screen that showed the child no more."""
    first = Edit(op=Op.UPDATE, data={"tasks": [TASKS[0], REMOVAL]}, base_version=1)
    second = Edit(op=Op.UPDATE, data={"tasks": [TASKS[0], {"id": "t3"}]}, base_version=1)

    joined = coalesce(first, second)

    assert joined is not None
    assert joined.data == {"tasks": [TASKS[0], {"id": "t3"}, REMOVAL]}
    assert local_view({"tasks": TASKS}, [joined]) == {"tasks": [TASKS[0], {"id": "t3"}]}


def test_child_that_is_put_back_is_not_removed() -> None:
    """The later list names it."""
    assert keep_removals({"tasks": [REMOVAL]}, {"tasks": TASKS}) == {"tasks": TASKS}
    assert keep_removals({"tasks": [REMOVAL]}, {"title": "x"}) == {"title": "x"}
    assert keep_removals({"tasks": [REMOVAL]}, {"tasks": None}) == {"tasks": None}


def test_create_is_sent_without_removals() -> None:
    """A server takes whole children only for a row that it does not know."""
    made = Edit(op=Op.CREATE, data={"tasks": TASKS})
    edit = Edit(op=Op.UPDATE, data={"tasks": [TASKS[0], REMOVAL]})

    joined = coalesce(made, edit)

    assert joined is not None
    assert joined.data == {"tasks": [TASKS[0]]}


def test_lists_of_values_are_left_as_they_are() -> None:
    """Objects that have no ids are no children, and get none."""
    was = {"readings": [{"t": 1}], "tags": ["a"], "odd": None}
    now = {"readings": [{"t": 2}, {"t": 3}], "tags": ["b"], "odd": [1]}

    assert list_changes(was, copy.deepcopy(now), lambda: "new") == now
    declared: dict[str, Any] = {"readings": [{"t": 1}], "tasks": [{"id": "", "text": "x"}]}
    assert list_changes({}, declared, lambda: "new", is_declared=True) == {
        "readings": [{"t": 1}],
        "tasks": [{"id": "new", "text": "x"}],
    }


children = st.lists(
    st.fixed_dictionaries({"id": st.sampled_from("abcd"), "v": st.integers(0, 1)}),
    unique_by=lambda child: child["id"],
)


@given(children, children, children)
def test_two_edits_of_a_list_end_as_the_second_left_it(
    server: list[Any], one: list[Any], two: list[Any]
) -> None:
    """On a server that replaces lists and on one that merges them by id, sent as one or as two."""
    first = list_changes({"l": server}, {"l": one}, lambda: "new")
    second = list_changes({"l": one}, {"l": two}, lambda: "new")
    joined = coalesce(
        Edit(op=Op.UPDATE, data=first, base_version=1),
        Edit(op=Op.UPDATE, data=second, base_version=1),
    )
    assert joined is not None

    for edits in ([first, second], [joined.data]):
        replaced, merged = list(server), {child["id"]: child for child in server}
        for edit in edits:
            replaced = without_removals({"l": edit.get("l", replaced)})["l"]
            for child in edit.get("l", []):
                merged[child["id"]] = child
                if "deleted" in child:
                    merged.pop(child["id"])
        assert replaced == two or not joined.data.get("l")
        by_id = sorted(merged.values(), key=lambda child: str(child["id"]))
        assert by_id == sorted(two, key=lambda child: str(child["id"]))


@pytest.mark.parametrize(
    ("now", "seen", "is_held"),
    [
        ({"a": 1, "b": 2}, {"a": 1}, True),  # the server has filled in
        ({"a": 1}, {"a": 1, "b": 2}, False),
        ([{"id": "2"}, {"id": "1", "x": 0}], [{"id": "1"}, {"id": "2"}], True),  # and sorted
        ([{"id": "1"}, {"id": "3"}], [{"id": "1"}, {"id": "2"}], False),
        ([{"id": "1", "x": 1}], [{"id": "1", "x": 2}], False),
        ([{"id": "1"}, {"id": "2"}], [{"id": "1"}], False),  # a child that nobody here saw
        ([1, 2], [1, 2], True),
        ([2, 1], [1, 2], False),
        ("a", "a", True),
        (None, {"a": 1}, False),
    ],
)
def test_what_a_server_adds_is_no_change_by_others(now: Any, seen: Any, is_held: bool) -> None:
    """Or a person would be in conflict with nobody."""
    assert holds(now, seen) is is_held


def test_removal_that_was_sent_is_no_change_by_others(
    server: Any, phone: Any, row_id: str
) -> None:
    """The list that the server shows lacks what this device has removed."""
    server.edit("work_orders", row_id, title="Theirs")
    with phone["work_orders"].edit(row_id) as row:
        del row["tasks"][1]

    def edit_again(path: str) -> None:
        server.before_answer = lambda path: None
        with phone["work_orders"].edit(row_id) as row:
            row["tasks"].append({"text": "test"})

    server.before_answer = edit_again
    phone.sync()

    assert phone.client.issues() == []
    assert [task["text"] for task in server.live("work_orders")[row_id]["tasks"]] == [
        "drain",
        "test",
    ]
