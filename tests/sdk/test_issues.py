"""Issues: a refused mutation waits for a person, with all they need to decide."""

from __future__ import annotations

from typing import Any

import pytest

import fieldsync


@pytest.fixture
def issue(server: Any, phone: Any) -> Any:
    """Tess set status and note of an inspection that the office has set to `reviewed`."""
    row_id = phone["inspections"].create({"status": "open", "note": ""})
    phone.sync()
    server.edit("inspections", row_id, status="reviewed")
    phone["inspections"].update(row_id, {"status": "done", "note": "leak"})
    report = phone.sync()
    assert (report.conflicts, report.issues) == (1, 1)
    (issue,) = phone.client.issues()
    return issue


def test_conflict_shows_both_sides(phone: Any, issue: Any) -> None:
    """And the local view is the server's row again."""
    assert (issue.op, issue.outcome, issue.code) == ("update", "conflict", "version_mismatch")
    assert (issue.fields, issue.base_version, issue.version) == (["status"], 1, 2)
    assert issue.mine == {"status": "done", "note": "leak"}
    assert issue.theirs["status"] == "reviewed"
    assert issue.error_class is fieldsync.ErrorClass.NEEDS_USER
    assert phone["inspections"].get(issue.row_id).data["status"] == "reviewed"


@pytest.mark.parametrize(
    ("keep", "status", "note"),
    [
        ("mine", "done", "leak"),
        ("theirs", "reviewed", ""),
        ({"status": "done, reviewed"}, "done, reviewed", "leak"),
    ],
)
def test_resolved_conflict_reaches_the_server(
    server: Any, phone: Any, issue: Any, keep: Any, status: str, note: str
) -> None:
    """Mine goes on the server's current version; values win over mine."""
    issue.resolve(keep=keep)
    phone.restart()
    phone.sync()

    row = server.live("inspections")[issue.row_id]
    assert (row["status"], row["note"]) == (status, note)
    assert phone.client.issues() == []
    assert phone.view("inspections") == server.live("inspections")


def test_issue_is_settled_once(phone: Any, issue: Any) -> None:
    """A second tap on the button does nothing."""
    issue.discard()

    for settle in (issue.discard, issue.retry, lambda: issue.resolve(keep="mine")):
        with pytest.raises(fieldsync.IssueClosed):
            settle()
    assert phone.client.status().pending == 0


def test_retry_sends_the_same_again(server: Any, phone: Any, issue: Any) -> None:
    """On the same base: a conflict is a conflict again."""
    issue.retry()
    phone.sync()

    (again,) = phone.client.issues()
    assert (again.outcome, again.base_version) == ("conflict", 1)


def test_values_win_over_an_edit_made_meanwhile(server: Any, phone: Any, issue: Any) -> None:
    """The person has seen the row when deciding."""
    phone["inspections"].update(issue.row_id, {"note": "meanwhile", "status": "meanwhile"})
    issue.resolve(keep={"status": "decided"})
    phone.sync()

    row = server.live("inspections")[issue.row_id]
    assert (row["status"], row["note"]) == ("decided", "meanwhile")


def test_update_of_a_deleted_row_cannot_be_kept(server: Any, phone: Any) -> None:
    """The app is told so, and the issue stays."""
    row_id = phone["work_orders"].create({"title": "x"})
    phone.sync()
    server.delete("work_orders", row_id)
    phone["work_orders"].update(row_id, {"title": "y"})
    phone.sync()
    (issue,) = phone.client.issues()
    assert issue.outcome == "gone"

    with pytest.raises(fieldsync.Unresolvable):
        issue.resolve(keep="mine")

    (issue,) = phone.client.issues()
    assert issue.base["title"] == "x"
    issue.resolve(keep="theirs")


def test_delete_that_conflicts_can_be_insisted_on(server: Any, phone: Any) -> None:
    """The edit won at first; the person has the last word."""
    row_id = phone["work_orders"].create({"title": "x"})
    phone.sync()
    server.edit("work_orders", row_id, title="edited")
    phone["work_orders"].delete(row_id)
    phone.sync()
    (issue,) = phone.client.issues()
    assert (issue.op, issue.outcome, issue.mine) == ("delete", "conflict", {})
    assert phone["work_orders"].get(row_id).data["title"] == "edited"

    issue.resolve(keep="mine")
    phone.sync()

    assert server.live("work_orders") == {}
    assert phone.view("work_orders") == {}


def test_edit_of_a_refused_create_stays_with_it(server: Any, phone: Any) -> None:
    """Alone it could only be answered by `not_found`."""
    row_id = phone["work_orders"].create({"title": "BAD", "kind": "repair"})

    def edit_once(path: str) -> None:
        server.before_answer = lambda path: None
        phone["work_orders"].update(row_id, {"kind": "install"})

    server.before_answer = edit_once
    phone.sync()

    (issue,) = phone.client.issues()
    assert (issue.op, issue.mine) == ("create", {"title": "BAD", "kind": "install"})
    issue.resolve(keep={"title": "good"})
    phone.sync()
    assert server.live("work_orders")[row_id]["kind"] == "install"


def test_child_of_a_refused_parent_says_whom_it_waits_for(server: Any, phone: Any) -> None:
    """Once the parent is mended, the child is sent again."""
    parent = phone["work_orders"].create({"title": "BAD"})
    child = phone["notes"].create({"work_order": parent, "text": "hello"})
    phone.sync()
    by_row = {issue.row_id: issue for issue in phone.client.issues()}
    assert by_row[child].outcome == "dependency_failed"
    assert by_row[child].blocked_by["id"] == parent

    by_row[child].retry()
    by_row[parent].resolve(keep={"title": "good"})
    report = phone.sync()

    assert dict(report.outcomes) == {"created": 2}


def test_quarantined_mutation_is_parked(server: Any, phone: Any) -> None:
    """A supervisor decides on the server; here it is an issue of its own kind."""
    phone["work_orders"].create({"title": "x"})
    server._apply = lambda *given: {"outcome": "quarantined", "code": "late_work"}
    phone.sync()

    (issue,) = phone.client.issues()
    assert issue.is_parked
    assert issue.detail == (
        "The server answered late_work. The server keeps it for a supervisor to decide."
    )


def test_mine_does_not_take_a_create_that_waits_for_an_edit_of_the_row(
    server: Any, phone: Any
) -> None:
    """What the create lies over, nobody here has seen: it must be asked about once more."""
    server.create("work_orders", "w1", title="Theirs")
    phone["work_orders"].create({"note": "Mine"}, id="w1")
    phone.push()
    (issue,) = phone.client.issues()
    phone["work_orders"].create({"title": "Mine, too"}, id="w1")
    phone.pull()

    issue.resolve(keep="mine")
    phone.sync()

    assert server.live("work_orders")["w1"]["title"] == "Theirs"
    (asked,) = phone.client.issues()
    assert (asked.outcome, asked.theirs["title"]) == ("conflict", "Theirs")
    asked.resolve(keep="mine")
    phone.sync()
    row = server.live("work_orders")["w1"]
    assert (row["title"], row["note"]) == ("Mine, too", "Mine")


def test_create_that_is_retried_behind_another_hides_no_value_of_it(
    server: Any, phone: Any
) -> None:
    """Both are refused, and both are shown."""
    server.create("work_orders", "w1", title="Theirs")
    phone["work_orders"].create({"title": "First"}, id="w1")
    phone.push()
    phone["work_orders"].create({"title": "Second"}, id="w1")

    def retry_once(path: str) -> None:
        server.before_answer = lambda path: None
        phone.client.issues()[0].retry()

    server.before_answer = retry_once
    phone.sync()

    assert [i.mine["title"] for i in phone.client.issues()] == ["Second", "First"]


def test_values_chosen_for_a_row_prevent_a_delete_that_waits(
    server: Any, phone: Any, second: Any
) -> None:
    """What a person decides last is what is done."""
    phone["inspections"].create({"result": "ok"}, id="i1")
    phone.sync()
    second.sync()
    second["inspections"].update("i1", {"result": "leaks"})
    second.sync()
    phone["inspections"].update("i1", {"result": "fine"})
    phone.sync()
    (issue,) = phone.client.issues()
    phone["inspections"].delete("i1")

    issue.resolve(keep={"result": "leaks a little"})
    phone.sync()

    assert server.live("inspections")["i1"]["result"] == "leaks a little"
    assert phone.client.issues() == []
