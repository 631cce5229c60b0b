"""Single rows: read, created, edited and deleted under a version, by the engine's own rules."""

from __future__ import annotations

from typing import Any

import pytest

from backend.fieldwork.models import WorkOrder
from sync.ids import uuid7
from tests.phones import Phone, World
from tests.rest.conftest import ORDERS, make_inspection, make_order, problem


def url_of(row: dict[str, Any]) -> str:
    return f"{ORDERS}{row['id']}/"


def test_created_row_is_what_phones_get(dora: Phone, alice: Phone, wales: World) -> None:
    """The answer, the row at its address, and a technician's pull are the same row."""
    answer = dora.send("POST", ORDERS, wales.order(tasks=[{"id": str(uuid7()), "text": "Look"}]))
    row = answer.json()

    assert answer.status_code == 201
    assert answer["ETag"] == '"1"'
    assert answer["Location"] == f"http://testserver{url_of(row)}"
    assert row["number"].startswith("WO-")
    found = alice.send("GET", url_of(row))
    assert found.json() == row
    assert found["ETag"] == '"1"'
    alice.pull()
    assert {"id": row["id"], "version": 1, **alice.row("work_orders", row["id"])} == row


def test_edit_needs_the_version_that_it_was_made_on(dora: Phone, wales: World) -> None:
    """428 without, 412 on another: also where a push would merge the two edits."""
    row = make_order(dora, wales)
    edited = dora.send("PATCH", url_of(row), {"priority": 1}, **{"If-Match": '"1"'})
    assert edited.status_code == 200
    assert edited["ETag"] == '"2"'
    assert edited.json() == row | {"version": 2, "priority": 1}

    for method in ("PATCH", "PUT", "DELETE"):
        body = None if method == "DELETE" else wales.order(description="late")
        late = dora.send(method, url_of(row), body, **{"If-Match": '"1"'})
        assert (late.status_code, problem(late)["code"]) == (412, "precondition_failed"), method
        assert problem(late)["version"] == 2
        unnamed = dora.send(method, url_of(row), body)
        assert (unnamed.status_code, problem(unnamed)["code"]) == (428, "precondition_required")
        weak = dora.send(method, url_of(row), body, **{"If-Match": 'W/"2"'})
        assert weak.status_code == 412, method
    assert WorkOrder.objects.get(pk=row["id"]).version == 2


def test_edit_that_changes_nothing_still_needs_the_version(dora: Phone, wales: World) -> None:
    row = make_order(dora, wales)
    dora.send("PATCH", url_of(row), {"priority": 1}, **{"If-Match": '"1"'})

    again = dora.send("PATCH", url_of(row), {"priority": 1}, **{"If-Match": '"1"'})
    knowing = dora.send("PATCH", url_of(row), {"priority": 1}, **{"If-Match": '"2"'})
    whatever = dora.send("PATCH", url_of(row), {"priority": 2}, **{"If-Match": "*"})

    assert again.status_code == 412
    assert (knowing.status_code, knowing.json()["version"]) == (200, 2)
    assert (whatever.status_code, whatever.json()["version"]) == (200, 3)


def test_whole_row_puts_what_it_leaves_out_back(dora: Phone, wales: World) -> None:
    """PUT: defaults for what is not said, also for children; an answer may be sent back as it is."""
    row = make_order(dora, wales, priority=1, tasks=[{"id": str(uuid7()), "text": "Look"}])

    same = dora.send("PUT", url_of(row), row, **{"If-Match": '"1"'})
    short = dora.send("PUT", url_of(row), wales.order(), **{"If-Match": '"1"'})
    missing = dora.send("PUT", url_of(row), {"title": "x"}, **{"If-Match": '"2"'})

    assert (same.status_code, same.json()) == (200, row)
    assert short.json() == row | {"version": 2, "priority": 3, "tasks": []}
    assert missing.status_code == 400
    wrong = {(each["path"], each["code"]) for each in problem(missing)["errors"]}
    assert wrong == {("kind", "required"), ("site", "required")}


def test_whole_row_has_the_children_that_it_names(dora: Phone, wales: World) -> None:
    """Also where a list in an edit is merged child by child: PATCH merges, PUT replaces."""
    row = make_inspection(dora, wales)
    first, second, third = row["answers"]
    address = f"/api/v1/inspections/{row['id']}/"

    patched = dora.send(
        "PATCH", address, {"answers": [first | {"value": "no"}]}, **{"If-Match": '"1"'}
    )
    put = dora.send("PUT", address, row | {"answers": [third]}, **{"If-Match": '"2"'})

    assert patched.json()["answers"] == [first | {"value": "no"}, second, third]
    assert put.json()["answers"] == [third]


def test_row_can_be_put_where_there_is_none(dora: Phone, wales: World) -> None:
    row_id = str(uuid7())
    new = {"If-None-Match": "*"}

    made = dora.send("PUT", f"{ORDERS}{row_id}/", wales.order(), **new)
    again = dora.send("PUT", f"{ORDERS}{row_id}/", wales.order(), **new)
    other = dora.send("PUT", f"{ORDERS}{row_id}/", wales.order(priority=1), **new)

    assert (made.status_code, made.json()["id"]) == (201, row_id)
    assert made["Location"] == f"http://testserver{ORDERS}{row_id}/"
    assert again.status_code == 412
    assert other.status_code == 412


def test_deleted_row_is_missing(dora: Phone, wales: World) -> None:
    row = make_order(dora, wales)

    gone = dora.send("DELETE", url_of(row), **{"If-Match": '"1"'})

    assert (gone.status_code, gone.content) == (204, b"")
    assert dora.send("GET", url_of(row)).status_code == 404
    late = dora.send("PATCH", url_of(row), {"priority": 1}, **{"If-Match": '"1"'})
    assert (late.status_code, problem(late)["code"]) == (404, "row_deleted")
    assert dora.send("DELETE", url_of(row), **{"If-Match": '"1"'}).status_code == 204


def test_known_row_is_not_sent_again(dora: Phone, wales: World) -> None:
    row = make_order(dora, wales)

    known = dora.send("GET", url_of(row), **{"If-None-Match": '"1"'})
    dora.send("PATCH", url_of(row), {"priority": 1}, **{"If-Match": '"1"'})
    edited = dora.send("GET", url_of(row), **{"If-None-Match": '"1"'})

    assert (known.status_code, known.content, known["ETag"]) == (304, b"", '"1"')
    assert known["Cache-Control"] == "private, no-cache"
    assert "Authorization" in known["Vary"]
    assert edited.status_code == 200
    assert "Last-Modified" in edited


def test_key_creates_once(dora: Phone, alice: Phone, wales: World) -> None:
    """A repeated request is answered as it was, byte for byte; another body is refused."""
    key = {"Idempotency-Key": "a-key"}

    first = dora.send("POST", ORDERS, wales.order(), **key)
    again = dora.send("POST", ORDERS, wales.order(), **key)
    other = dora.send("POST", ORDERS, wales.order(priority=1), **key)
    hers = alice.send("POST", ORDERS, wales.order(), **key)

    assert (again.status_code, again.content) == (201, first.content)
    assert again["Idempotency-Replayed"] == "true"
    assert again["ETag"] == '"1"'
    assert "Idempotency-Replayed" not in first
    assert (other.status_code, problem(other)["code"]) == (422, "idempotency_key_reused")
    assert hers.status_code == 201
    assert hers.json()["id"] != first.json()["id"]
    assert WorkOrder.objects.filter(title__startswith=wales.canary).count() == 2


def test_key_of_what_was_refused_is_free(dora: Phone, wales: World) -> None:
    key = {"Idempotency-Key": "a-key"}
    refused = dora.send("POST", ORDERS, wales.order(kind="nonsense"), **key)

    made = dora.send("POST", ORDERS, wales.order(), **key)

    assert (refused.status_code, made.status_code) == (400, 201)


@pytest.mark.parametrize(
    ("data", "path", "code"),
    [
        ({"kind": "nonsense"}, "kind", "invalid_choice"),
        ({"title": ""}, "title", "blank"),
        ({"priority": 9}, "priority", "max_value"),
        ({"asset": str(uuid7())}, "asset", "does_not_exist"),
        ({"tasks": [{"id": str(uuid7())}]}, "tasks.0.text", "required"),
        ({"colour": "red"}, "colour", "unknown_field"),
    ],
)
def test_wrong_values_are_named(
    dora: Phone, wales: World, data: dict[str, Any], path: str, code: str
) -> None:
    answer = dora.send("POST", ORDERS, wales.order(**data))

    assert (answer.status_code, problem(answer)["code"]) == (400, "validation_failed")
    assert [(each["path"], each["code"]) for each in problem(answer)["errors"]] == [(path, code)]


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"a": 1, "a": 2}', b'"x"', b"null"])
def test_body_that_is_no_row_is_refused(dora: Phone, body: bytes) -> None:
    answer = dora.send("POST", ORDERS, body)

    assert (answer.status_code, problem(answer)["code"]) == (400, "body_malformed")


def test_illegal_step_names_the_legal_ones(dora: Phone, wales: World) -> None:
    row = make_order(dora, wales)

    answer = dora.send("PATCH", url_of(row), {"status": "approved"}, **{"If-Match": '"1"'})
    back = dora.send("PATCH", url_of(row), {"status": "draft"}, **{"If-Match": answer["ETag"]})

    assert answer.status_code == 200
    assert (back.status_code, problem(back)["code"]) == (409, "illegal_transition")
    assert problem(back)["allowed"] == []
    assert problem(back)["current"]["status"] == "approved"


def test_roles_and_scopes_are_those_of_sync(
    dora: Phone, alice: Phone, wales: World, northwind: World
) -> None:
    """Forbidden to the role: 403. Out of scope, or another tenant's: missing, by every method."""
    mine = make_order(dora, wales)
    elsewhere = make_order(dora, wales, site=wales.other_site)
    theirs = make_order(northwind.hire("dispatcher"), northwind)

    approval = alice.send("PATCH", url_of(mine), {"status": "approved"}, **{"If-Match": '"1"'})
    deletion = alice.send("DELETE", url_of(mine), **{"If-Match": '"1"'})
    assert (approval.status_code, problem(approval)["code"]) == (403, "approval_forbidden")
    assert (deletion.status_code, problem(deletion)["code"]) == (403, "role_forbids")

    for who, row in ((alice, elsewhere), (alice, theirs), (dora, theirs)):
        nowhere = f"{ORDERS}{uuid7()}/"
        for method, body in (("GET", None), ("PATCH", {"priority": 1}), ("DELETE", None)):
            version = {} if method == "GET" else {"If-Match": '"1"'}
            foreign = who.send(method, url_of(row), body, **version)
            missing = who.send(method, nowhere, body, **version)
            assert (foreign.status_code, missing.status_code) == (404, 404)
            assert _without_id(foreign) == _without_id(missing)


def _without_id(answer: Any) -> dict[str, Any]:
    return {name: value for name, value in problem(answer).items() if name != "request_id"}


def test_nobody_sets_what_is_the_servers(dora: Phone, wales: World) -> None:
    """Over all columns: what is not a field is unknown, what the server gives stays as it is."""
    row = make_order(dora, wales)
    before = WorkOrder.objects.filter(pk=row["id"]).values().get()
    fields = {"kind", "status", "priority", "site", "asset", "assignee", "title", "description",
              "due_at", "completed_at"}  # fmt: skip
    columns = {each.attname for each in WorkOrder._meta.concrete_fields}

    for name in sorted(columns - fields):
        answer = dora.send("PATCH", url_of(row), {name: "7"}, **{"If-Match": '"1"'})
        assert answer.status_code in {200, 400}, name
        assert WorkOrder.objects.filter(pk=row["id"]).values().get() == before, name


def test_row_needs_its_parent(dora: Phone, wales: World) -> None:
    """The row whose scopes it takes; the answer names it."""
    site = str(uuid7())

    answer = dora.send("POST", ORDERS, wales.order(site=site))

    assert (answer.status_code, problem(answer)["code"]) == (400, "parent_missing")
    assert problem(answer)["blocked_by"]["id"] == site
