"""Actions: a work order's buttons, by the same rules as every other edit."""

from __future__ import annotations

from tests.phones import Phone, World
from tests.rest.conftest import ORDERS, make_order, problem


def test_life_of_a_work_order(dora: Phone, alice: Phone, wales: World) -> None:
    """Assigned, begun, done, approved; each by whom it is for, and phones hear of it."""
    row = make_order(dora, wales)
    address = f"{ORDERS}{row['id']}/"

    assigned = dora.send("POST", f"{address}assign/", {"assignee": str(alice.user_id)}).json()
    started = alice.send("POST", f"{address}start/").json()
    done = alice.send("POST", f"{address}complete/", {"completed_at": "2026-11-20T08:00:00+01:00"})
    refused = alice.send("POST", f"{address}approve/")
    approved = dora.send("POST", f"{address}approve/").json()

    assert (assigned["status"], assigned["assignee"]) == ("assigned", str(alice.user_id))
    assert started["status"] == "in_progress"
    assert done.json()["completed_at"] == "2026-11-20T07:00:00Z"
    assert (refused.status_code, problem(refused)["code"]) == (403, "approval_forbidden")
    assert approved["status"] == "approved"
    alice.pull()
    assert alice.row("work_orders", row["id"])["status"] == "approved"


def test_reassigning_leaves_the_status_alone(dora: Phone, alice: Phone, wales: World) -> None:
    row = make_order(dora, wales, status="in_progress")

    answer = dora.send(
        "POST", f"{ORDERS}{row['id']}/assign/", {"assignee": str(alice.user_id)}
    ).json()

    assert (answer["status"], answer["assignee"]) == ("in_progress", str(alice.user_id))


def test_button_pressed_on_an_old_page_is_refused(dora: Phone, wales: World) -> None:
    """If the page says what it showed; without that, the row as it is counts."""
    row = make_order(dora, wales)
    address = f"{ORDERS}{row['id']}/cancel/"
    dora.send("PATCH", f"{ORDERS}{row['id']}/", {"priority": 1}, **{"If-Match": '"1"'})

    late = dora.send("POST", address, **{"If-Match": '"1"'})
    pressed = dora.send("POST", address)
    again = dora.send("POST", f"{ORDERS}{row['id']}/start/")

    assert late.status_code == 412
    assert pressed.json()["status"] == "cancelled"
    assert (again.status_code, problem(again)["code"]) == (409, "illegal_transition")


def test_wrong_words_and_foreign_rows(dora: Phone, wales: World, northwind: World) -> None:
    row = make_order(dora, wales)
    nina = northwind.hire("dispatcher")

    nobody = dora.send("POST", f"{ORDERS}{row['id']}/assign/", {})
    stranger = dora.send("POST", f"{ORDERS}{row['id']}/assign/", {"assignee": str(nina.user_id)})
    foreign = nina.send("POST", f"{ORDERS}{row['id']}/cancel/")

    assert [each["path"] for each in problem(nobody)["errors"]] == ["assignee"]
    assert (stranger.status_code, problem(stranger)["errors"][0]["code"]) == (
        400,
        "does_not_exist",
    )
    assert foreign.status_code == 404


def test_key_presses_once(dora: Phone, wales: World) -> None:
    row = make_order(dora, wales)
    address, key = f"{ORDERS}{row['id']}/complete/", {"Idempotency-Key": "done"}
    dora.send("POST", f"{ORDERS}{row['id']}/assign/", {"assignee": str(dora.user_id)})
    dora.send("POST", f"{ORDERS}{row['id']}/start/")

    first = dora.send("POST", address, **key)
    again = dora.send("POST", address, **key)

    assert (again.status_code, again.content) == (200, first.content)
    assert again["Idempotency-Replayed"] == "true"
