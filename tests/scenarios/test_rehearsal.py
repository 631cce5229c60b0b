"""`validate_only`: the report that the push would get, and not a trace of it."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection

from sync.registry import ranked_collections
from sync.types import Outcome
from tests.desk import turn_on
from tests.one_of_each import batch, history, named_world
from tests.phones import Phone, World, create, update
from tests.scenarios.reading import outcomes

LOG = ("sync_stream", "sync_change", "sync_entry", "sync_request", "sync_quarantine")


@pytest.fixture
def world(db: None) -> World:
    return named_world()


@pytest.fixture
def sam(world: World) -> Phone:
    """Return the phone of Cardiff's supervisor, with rows to be refused about."""
    phone = world.hire("supervisor")
    history(world, phone)
    return phone


def tables() -> dict[str, list[tuple[Any, ...]]]:
    """Return every row of the domain and of the log, with the place where it lies."""
    names = [*LOG]
    for collection in ranked_collections().values():
        names += [collection.table, *(n.model._meta.db_table for n in collection.nested)]
    with connection.cursor() as cursor:
        found = {}
        for name in names:
            cursor.execute(
                f"SELECT ctid::text, t::text FROM {name} t ORDER BY ctid"
            )  # names of our own tables
            found[name] = cursor.fetchall()
    return found


def rehearse(phone: Phone, body: dict[str, Any]) -> Any:
    """Rehearse a push, which must leave no trace."""
    before = tables()
    answer = phone.push_raw({**body, "validate_only": True}, "")
    assert tables() == before
    return answer


def assert_same_report(rehearsed: Any, pushed: Any) -> None:
    """The same status, type and bytes, but for the time at which it was said."""
    assert rehearsed.status_code == pushed.status_code
    assert rehearsed["Content-Type"] == pushed["Content-Type"]
    time_of = [f'"server_time":"{a.json()["server_time"]}"'.encode() for a in (rehearsed, pushed)]
    assert rehearsed.content.replace(time_of[0], b"") == pushed.content.replace(time_of[1], b"")


def test_rehearsed_report_is_the_real_one_for_every_outcome(world: World, sam: Phone) -> None:
    """One of each: what was said of a row before is what becomes of it."""
    body = {"policy": "per_row", "mutations": batch(world)}

    rehearsed = rehearse(sam, body)
    pushed = sam.push_raw(body)

    assert set(outcomes(rehearsed.json()["results"])) == set(Outcome) - {"quarantined"}
    assert_same_report(rehearsed, pushed)


@pytest.mark.parametrize("refusals", [500, 4, 1, 0])
def test_rehearsed_rejection_is_the_real_one(refusals: int, world: World, sam: Phone) -> None:
    """All or nothing: 409 and 422 with their culprits, and 200 when there are none."""
    new = [create("work_orders", **world.order()) for _ in range(3)]
    bad = [m for m in batch(world) if "group" not in m and m["op"] == "update"]
    body = {"mutations": new + bad[:refusals]}

    rehearsed = rehearse(sam, body)
    pushed = sam.push_raw(body)

    assert rehearsed.status_code == (409 if refusals > 1 else 422 if refusals else 200)
    assert_same_report(rehearsed, pushed)


def test_rehearsal_asks_the_database_too(world: World, sam: Phone) -> None:
    """What only a constraint of a table knows is said before, not when it is too late."""
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE work_order ADD CONSTRAINT cursed CHECK (title <> 'cursed')")
    cursed = create("work_orders", **world.order(title="cursed"))
    note = create("notes", work_order=cursed["id"], text="x")
    body = {
        "policy": "per_row",
        "mutations": [note, cursed, create("work_orders", **world.order())],
    }

    rehearsed = rehearse(sam, body)
    pushed = sam.push_raw(body)

    assert outcomes(rehearsed.json()["results"]) == ["dependency_failed", "invalid", "created"]
    assert rehearsed.json()["results"][0]["blocked_by"]["index"] == 1
    assert_same_report(rehearsed, pushed)


def test_rehearsal_says_why_something_would_be_kept(world: World, sam: Phone) -> None:
    """Nothing is parked that was not sent in earnest: the refusal itself is what it reports."""
    turn_on(world)
    body = {"policy": "per_row", "mutations": batch(world)}

    rehearsed = rehearse(sam, body).json()["results"]
    pushed = sam.push_raw(body).json()["results"]

    kept = [line for line in pushed if line["outcome"] == "quarantined"]
    assert len(kept) > 10
    for line in kept:
        line["outcome"] = line.pop("refused")
        del line["quarantine_id"]
    assert rehearsed == pushed


def test_rehearsal_takes_no_number(world: World, sam: Phone) -> None:
    """The office would ask where WO-5 went."""
    body = {"mutations": [create("work_orders", **world.order()) for _ in range(5)]}
    sam.push_raw({"mutations": body["mutations"][:1]})
    rehearse(sam, body)

    sam.push_raw(body)

    sam.pull()
    numbers = sorted(
        int(row["number"].removeprefix("WO-"))
        for (name, _), (_, row) in sam.rows.items()
        if name == "work_orders"
    )
    assert numbers[-6:] == list(range(numbers[-6], numbers[-6] + 6))


def test_rehearsal_of_an_edit_shows_the_row_that_it_would_meet(world: World, sam: Phone) -> None:
    """A form can show the other's values beside its own before anything is sent."""
    order = create("work_orders", **world.order())
    sam.push(order, update("work_orders", order["id"], 1, title="theirs"))
    body = {"policy": "per_row", "mutations": [update("work_orders", order["id"], 1, title="x")]}

    (line,) = rehearse(sam, body).json()["results"]

    assert (line["outcome"], line["current"]["title"]) == ("conflict", "theirs")
